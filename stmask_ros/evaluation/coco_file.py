# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Pictures with masks in COCO's format, as COCO has it and as tools export it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pycocotools import mask as coco_mask

from stmask_ros.evaluation.records import BadEntries, DatasetError, Record, json_document
from stmask_ros.evaluation.rle import MaskSequence, Rle, SegmentationError, read_masks

Entry = TypeVar('Entry', 'CocoPicture', 'CocoCategory', 'CocoObject')


@dataclass(frozen=True)
class CocoPicture:
    """A picture: its id, name, and size [pixel]."""

    id: int
    file_name: str
    height: int
    width: int


@dataclass(frozen=True)
class CocoCategory:
    """A class; supercategory: '' for none."""

    id: int
    name: str
    supercategory: str


@dataclass(frozen=True)
class CocoObject:
    """
    An annotated object, or with is_crowd several in one mask.

    box: x, y, width, height [pixel]. area: the annotation's own [pixel], else the mask's.
    """

    id: int
    picture_id: int
    category_id: int
    mask: Rle
    box: tuple[float, float, float, float]
    area: float
    is_crowd: bool


@dataclass(frozen=True)
class CocoFile:
    """Pictures, categories and objects by their ids, in the order of the file."""

    pictures: Mapping[int, CocoPicture]
    categories: Mapping[int, CocoCategory]
    objects: Mapping[int, CocoObject]


def load_coco(path: Path, skip_bad: bool = False) -> CocoFile:
    """
    Read a file; DatasetError or OSError, with the entry, if it is not as COCO has it.

    skip_bad: leave out entries that are not, with a warning of how many.
    """
    return parse_coco(whole_document(path), str(path), skip_bad)


def whole_document(path: Path) -> Any:
    """Return a file's JSON; DatasetError or OSError."""
    try:
        with json_document(path) as document:
            return document if isinstance(document, dict) else []
    except DatasetError as error:
        raise DatasetError(f'not as COCO has it: {error}') from error


def parse_coco(document: Any, source: str, skip_bad: bool = False) -> CocoFile:
    """Check and convert a decoded file; see load_coco. source: what messages call the file."""
    bad = BadEntries(skip_bad)
    try:
        root = Record(document, source)
        pictures = _by_id(root, 'images', _picture, bad)
        categories = _by_id(root, 'categories', _category, bad)
        known = CocoFile(pictures, categories, {})
        objects = _by_id(root, 'annotations', lambda record: _object(record, known), bad)
    except DatasetError as error:
        raise DatasetError(f'not as COCO has it: {error}') from error
    bad.tell()
    return CocoFile(pictures, categories, objects)


def _by_id(
    root: Record, name: str, parse: Callable[[Record], Entry], bad: BadEntries
) -> dict[int, Entry]:
    found: dict[int, Entry] = {}
    for record in _records(root, name, bad):
        with bad.left_out():
            entry = parse(record)
            if entry.id in found:
                raise DatasetError(f'{record.where}: this id occurs more than once')
            found[entry.id] = entry
    return found


def _records(root: Record, name: str, bad: BadEntries) -> Iterator[Record]:
    """Yield the entries of a list, whose places tell their ids as well."""
    for values, where in root.records(name):
        with bad.left_out():
            number = values.get('id') if isinstance(values, dict) else None
            yield Record(values, where if number is None else f'{where} (id {number!r:.20})')


def _picture(record: Record) -> CocoPicture:
    return CocoPicture(record.integer('id'), record.text('file_name'), *record.size())


def _category(record: Record) -> CocoCategory:
    above = record.text('supercategory') if record.has('supercategory') else ''
    return CocoCategory(record.integer('id'), record.text('name'), above)


def _object(record: Record, known: CocoFile) -> CocoObject:
    picture = known.pictures.get(record.integer('image_id'))
    if picture is None:
        raise DatasetError(
            f"{record.where}: image_id {record.integer('image_id')} is not among the images")
    if record.integer('category_id') not in known.categories:
        raise DatasetError(
            f"{record.where}: category_id {record.integer('category_id')} is not among the "
            'categories')
    mask = _mask(record, picture)
    area = record.number('area') if record.has('area') else float(coco_mask.area(mask))
    crowd = bool(record.integer('iscrowd')) if record.has('iscrowd') else False
    return CocoObject(
        record.integer('id'), picture.id, record.integer('category_id'), mask,
        _box(record, mask), area, crowd,
    )


def _mask(record: Record, picture: CocoPicture) -> Rle:
    entry = record.values.get('segmentation')
    if not entry:
        raise DatasetError(f"{record.where}: it has no mask: 'segmentation' is missing or empty")
    try:
        (rle,) = read_masks([entry], picture.height, picture.width)
        if rle is None or list(rle['size']) != [picture.height, picture.width]:
            raise SegmentationError(
                f'expected a mask of {picture.width}x{picture.height} as {picture.file_name} is')
        mask = MaskSequence.from_masks([rle]).mask(0)
    except SegmentationError as error:
        text = str(error).removeprefix('entry 0: ')
        raise DatasetError(f"{record.where}: 'segmentation': {text}") from error
    assert mask is not None
    return mask


def _box(record: Record, mask: Rle) -> tuple[float, float, float, float]:
    if not record.has('bbox'):
        x, y, width, height = coco_mask.toBbox(mask).tolist()
        return x, y, width, height
    numbers = [number for number in record.numbers('bbox') if number is not None]
    if len(numbers) != 4:
        raise DatasetError(f"{record.where}: 'bbox': expected x, y, width and height")
    x, y, width, height = numbers
    return x, y, width, height
