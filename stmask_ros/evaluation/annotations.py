# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Annotated videos to run on: an official JSON file, or a DAVIS-style folder of mask pictures."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from stmask_ros.evaluation.burst_file import is_burst, parse_burst
from stmask_ros.evaluation.dataset import (
    Category,
    Dataset,
    DatasetError,
    GroundTruthTrack,
    Video,
    average_area,
    collector_paused,
    parse_dataset,
)
from stmask_ros.evaluation.mask_pictures import MASK_SUFFIXES, Labels, read_mask_picture
from stmask_ros.evaluation.mots_text import load_mots_text
from stmask_ros.evaluation.records import json_document
from stmask_ros.evaluation.rle import MaskSequence
from stmask_ros.evaluation.track_collection import match_classes
from stmask_ros.fingerprint import Fingerprint, file_sha256, files_fingerprint
from stmask_ros.images import ImageError, file_to_bgr
from stmask_ros.names import natural_order

Bgr = npt.NDArray[np.uint8]

_LOGGER = logging.getLogger(__name__)
_PICTURES = ('.jpg', '.jpeg', '.png', '.webp', '.bmp', '.tif', '.tiff')
_TEXT = '.txt'
# Which CVAT exports beside the pictures of the objects.
_CLASS_PICTURES = 'SegmentationClass'
_OBJECT = Category(1, 'object')


@dataclass(frozen=True)
class Annotations:
    """
    Videos, classes and objects.

    has_classes: False if the objects are not classified: then every class counts as one.
    is_complete: False if other objects than the annotated ones may be in view, so that a track
    on none of them is no mistake, and precision means nothing.
    """

    dataset: Dataset
    has_classes: bool
    is_complete: bool

    def category_of_class(self, class_names: Sequence[str]) -> dict[int, int]:
        """
        Return the category of each class of a model; DatasetError if no class has one.

        Warns of annotated categories that the model does not know: their objects can only be
        missed.
        """
        if not self.has_classes:
            return dict.fromkeys(range(1, len(class_names) + 1), _OBJECT.id)
        names = {category.id: category.name for category in self.dataset.categories}
        matched = match_classes(class_names, names)
        if not matched:
            raise DatasetError(
                f"none of the model's classes ({_few(class_names)}) is among the data set's "
                f'({_few(list(names.values()))}): use a model of this data set, or score without '
                'classes (--class-agnostic)'
            )
        annotated = {track.category_id for track in self.dataset.tracks}
        if unknown := [names[key] for key in sorted(annotated - set(matched.values()))]:
            _LOGGER.warning(
                'the model has no class for %d of the %d annotated categories (%s): their objects '
                'count as missed. Use a model of this data set, or score without classes '
                '(--class-agnostic)', len(unknown), len(annotated), _few(unknown),
            )
        return matched

    def without_classes(self) -> Annotations:
        """Return the same objects, all of one class."""
        tracks = tuple(replace(track, category_id=_OBJECT.id) for track in self.dataset.tracks)
        return replace(
            self, dataset=replace(self.dataset, categories=(_OBJECT,), tracks=tracks),
            has_classes=False,
        )

    def only(self, names: Sequence[str]) -> Annotations:
        """Return some of the videos, by name or id; DatasetError if one is not there."""
        known = {video.name: video for video in self.dataset.videos}
        known |= {str(video.id): video for video in self.dataset.videos}
        if missing := [name for name in names if name not in known]:
            raise DatasetError(
                f'the annotations have no video {", ".join(missing)}; they have '
                f'{_few([video.name for video in self.dataset.videos])}'
            )
        kept = {known[name].id for name in names}
        return replace(self, dataset=replace(
            self.dataset,
            videos=tuple(video for video in self.dataset.videos if video.id in kept),
            tracks=tuple(track for track in self.dataset.tracks if track.video_id in kept),
        ))


def load_annotations(path: Path, skip_bad: bool = False) -> Annotations:
    """
    Read annotations; DatasetError or OSError if that cannot be done.

    path: a JSON file of YouTube-VIS 2019, 2021, 2022, OVIS or BURST; a text file of KITTI-MOTS or
    a folder of such; or a folder as DAVIS has it, with a folder for each video and in it a mask
    picture for each frame, see read_mask_picture. skip_bad: see load_dataset.
    """
    if path.suffix == _TEXT or _holds_texts(path):
        return Annotations(load_mots_text(path, skip_bad), has_classes=True, is_complete=False)
    if path.is_dir():
        return Annotations(_load_folder(path), has_classes=False, is_complete=False)
    with collector_paused(), json_document(path, 'annotations') as document:
        if is_burst(document):
            dataset = parse_burst(document, str(path), skip_bad)
            return Annotations(dataset, has_classes=True, is_complete=False)
        return Annotations(
            parse_dataset(document, str(path), skip_bad), has_classes=True, is_complete=True)


def _holds_texts(path: Path) -> bool:
    """Return whether a path is a folder of text files, and not of a folder for each video."""
    return path.is_dir() and bool(list(path.glob(f'*{_TEXT}'))) and not any(
        entry.is_dir() for entry in path.iterdir())


def annotations_fingerprint(path: Path) -> Fingerprint:
    """Return what tells annotations from others, given a path as for load_annotations."""
    if path.is_dir():
        files = sorted(
            file for file in path.rglob('*') if file.suffix.lower() in (*MASK_SUFFIXES, _TEXT))
        return files_fingerprint(path, [file.relative_to(path).as_posix() for file in files])
    return {'sha256': file_sha256(path)}


def read_frame(images: Path, file_name: str, size: tuple[int, int] | None = None) -> Bgr:
    """
    Return a frame, uint8 BGR [H, W, 3]; DatasetError if it is missing, broken or of another size.

    Another kind of picture of the same name does as well. size: height and width [pixel] that the
    annotations are for. The pixels are as they lie in the file, unless its EXIF says that it is to
    be turned, and the annotations are for the turned picture.
    """
    path = images / picture_name(images, file_name)
    if not path.is_file():
        raise DatasetError(f'{path}: no such picture; is --images the folder that holds it?')
    picture = _read_picture(path, upright=False)
    if size is None or picture.shape[:2] == size:
        return picture
    turned = _read_picture(path, upright=True)
    if turned.shape[:2] != size:
        raise DatasetError(
            f'{path}: {picture.shape[1]}x{picture.shape[0]} pixels, but the annotations are for '
            f'{size[1]}x{size[0]}')
    return turned


def _read_picture(path: Path, *, upright: bool) -> Bgr:
    try:
        return file_to_bgr(path.read_bytes(), upright=upright)
    except (OSError, ImageError) as error:
        raise DatasetError(f'{path}: not a readable picture: {error}') from error


def picture_name(images: Path, file_name: str) -> Path:
    """
    Return the name of a frame's picture, below the folder of all.

    It may be of another kind than the one told, or have other zeros before its number. Raises
    DatasetError for a name that leads out of the folder, or is none.
    """
    name = Path(file_name.replace('\\', '/'))
    if name.is_absolute() or '..' in name.parts or '\0' in file_name or not name.name:
        raise DatasetError(f'{file_name!r:.80}: expected the name of a picture below {images}')
    try:
        for candidate in (name, *(name.with_suffix(suffix) for suffix in _PICTURES)):
            if (images / candidate).is_file():
                return candidate
        return _of_the_same_number(images, name) or name
    except OSError as error:  # a name that no file can have
        raise DatasetError(f'{file_name!r:.80}: {error.strerror}') from error


def _of_the_same_number(images: Path, name: Path) -> Path | None:
    """Return the picture whose name differs in the zeros before its numbers alone."""
    folder = images / name.parent
    meant, _ = natural_order(name.stem)
    found = [
        entry.name for entry in (folder.iterdir() if folder.is_dir() else ())
        if entry.suffix.lower() in _PICTURES and natural_order(entry.stem)[0] == meant
    ]
    if len(found) > 1:
        raise DatasetError(f'{folder / name}: no such picture, but {", ".join(sorted(found))}')
    return name.with_name(found[0]) if found else None


def _load_folder(folder: Path) -> Dataset:
    videos: list[Video] = []
    tracks: list[GroundTruthTrack] = []
    for sequence in sorted(folder.iterdir(), key=lambda path: natural_order(path.name)):
        place, pictures = _mask_pictures(sequence)
        if pictures:
            video, masks = _load_sequence(len(videos) + 1, place, pictures)
            videos.append(video)
            tracks += _objects(video, masks, first_id=len(tracks) + 1)
    if not videos:
        raise DatasetError(
            f'{folder}: expected a folder for each video, with a mask picture (.png) for each '
            'frame, and found none'
        )
    return Dataset(tuple(videos), (_OBJECT,), tuple(tracks))


def _mask_pictures(sequence: Path) -> tuple[str, list[Path]]:
    """
    Return the mask pictures of a video in order, and the folder that its frames are in.

    They are its own, or as CVAT exports MOTS lie in `instances`, the frames beside in `images`.
    """
    if not sequence.is_dir() or sequence.name == _CLASS_PICTURES:
        return '', []
    nested = sequence / 'instances'
    place = f'{sequence.name}/images' if nested.is_dir() else sequence.name
    files = (nested if nested.is_dir() else sequence).iterdir()
    masks = [path for path in files if path.suffix.lower() in MASK_SUFFIXES]
    return place, sorted(masks, key=lambda path: natural_order(path.name))


def _load_sequence(
    video_id: int, place: str, pictures: Sequence[Path]
) -> tuple[Video, list[Labels]]:
    masks = [read_mask_picture(path) for path in pictures]
    for path, mask in zip(pictures, masks, strict=True):
        if mask.shape != masks[0].shape or mask.dtype != masks[0].dtype:
            raise DatasetError(
                f'{path}: {_described(mask)}, but {pictures[0].name} has {_described(masks[0])}')
    height, width = masks[0].shape
    file_names = tuple(f'{place}/{path.stem}.jpg' for path in pictures)
    return Video(video_id, height, width, len(masks), file_names), masks


def _described(mask: Labels) -> str:
    bits = {1: '8 bits', 2: '16 bits', 4: 'colours'}[mask.itemsize]
    return f'{mask.shape[1]}x{mask.shape[0]} pixels of {bits}'


def _objects(video: Video, masks: Sequence[Labels], first_id: int) -> list[GroundTruthTrack]:
    labels = sorted(set().union(*(np.unique(mask).tolist() for mask in masks)) - {0})
    return [
        _object(first_id + index, video, [mask == label for mask in masks])
        for index, label in enumerate(labels)
    ]


def _object(
    track_id: int, video: Video, masks: Sequence[npt.NDArray[np.bool_]]
) -> GroundTruthTrack:
    sequence = MaskSequence.from_masks([
        coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8)) if mask.any() else None
        for mask in masks
    ])
    area = average_area(sequence.areas.tolist())
    return GroundTruthTrack(track_id, video.id, _OBJECT.id, False, area, sequence)


def _few(names: Sequence[str]) -> str:
    return ', '.join(names[:6]) + (', ...' if len(names) > 6 else '')
