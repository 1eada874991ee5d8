# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""YOLO segmentation: a text file for each picture, data.yaml with the classes. Without ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from stmask_ros.evaluation.dataset import DatasetError
from stmask_ros.labelling.exchange import Found, FoundObject, Picture, Pictures, masks_at
from stmask_ros.labelling.folder import Labels, decoded
from stmask_ros.labelling.outlines import SegmentationError, filled, outline_of
from stmask_ros.output_files import write_whole

_DATA = 'data.yaml'
_FEWEST_NUMBERS = 6


def write_yolo(folder: Path, labels: Labels, images: str) -> None:
    """Write data.yaml, and labels/ with a file for each picture. images: where they are."""
    (folder / 'labels').mkdir(parents=True)
    numbers = {each.id: number for number, each in enumerate(labels.categories)}
    for picture in Pictures.of(labels):
        lines = [
            f'{numbers[labels.track(i).category_id]} {" ".join(_fractions(outline, picture))}\n'
            for i, mask in masks_at(labels, picture).items()
            if (outline := outline_of(decoded(mask))) is not None
        ]
        name = Path(picture.file_name).with_suffix('.txt').name
        write_whole(folder / 'labels' / name, ''.join(lines))
    write_whole(folder / _DATA, yaml.safe_dump({
        'path': '.', 'train': images, 'val': images,
        'names': {numbers[each.id]: each.name for each in labels.categories},
    }))


def _fractions(outline: np.ndarray[Any, np.dtype[np.float64]], picture: Picture) -> list[str]:
    return [f'{value:.6g}' for value in (outline / (picture.width, picture.height)).ravel()]


def read_yolo(folder: Path, pictures: Pictures) -> Found:
    """
    Read an export: data.yaml, and text files in any folder below; DatasetError or OSError.

    Pictures without a text file are not among those that it is about.
    """
    names = _class_names(folder / _DATA)
    found: list[FoundObject] = []
    seen: set[int] = set()
    for path in sorted(folder.rglob('labels/**/*.txt')):
        number = pictures.number(str(path.relative_to(folder)))
        seen.add(number)
        found += _objects(path, number, pictures[number], names)
    if not seen:
        raise DatasetError(f'{folder}: expected labels/*.txt, and found none')
    return Found(frozenset(seen), tuple(found))


def _class_names(path: Path) -> Mapping[int, str]:
    try:
        names = yaml.safe_load(path.read_text())['names']
        pairs = names.items() if isinstance(names, dict) else enumerate(names)
        return {int(number): str(name) for number, name in pairs}
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(f'{path}: expected the names of the classes: {error!r}') from error


def _objects(
    path: Path, number: int, picture: Picture, names: Mapping[int, str]
) -> Iterator[FoundObject]:
    # What is no text is no number either, and told as such.
    for index, line in enumerate(path.read_text(errors='replace').splitlines(), 1):
        try:
            words = line.split()
            if not words:
                continue
            if len(words) <= _FEWEST_NUMBERS:
                raise ValueError('expected a class and a polygon of three points or more')
            numbers = np.array(list(map(float, words[1:])))
            points = numbers.reshape(-1, 2) * (picture.width, picture.height)
            mask = filled([points.ravel().tolist()], picture.height, picture.width)
            assert mask is not None
            yield FoundObject(number, names[int(words[0])], mask)
        except (ValueError, KeyError, SegmentationError) as error:
            raise DatasetError(f'{path}, line {index}: {error}') from error
