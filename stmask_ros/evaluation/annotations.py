"""Annotated videos to run on: an official JSON file, or a DAVIS-style folder of mask pictures."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image
from pycocotools import mask as coco_mask

from stmask_ros.evaluation.dataset import (
    Category,
    Dataset,
    DatasetError,
    GroundTruthTrack,
    Video,
    average_area,
    load_dataset,
)
from stmask_ros.evaluation.rle import MaskSequence
from stmask_ros.evaluation.track_collection import match_classes
from stmask_ros.fingerprint import Fingerprint, file_sha256, files_fingerprint

Bgr = npt.NDArray[np.uint8]

_LOGGER = logging.getLogger(__name__)
_PICTURES = ('.jpg', '.jpeg', '.png', '.webp')
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


def load_annotations(path: Path) -> Annotations:
    """
    Read annotations; DatasetError or OSError if that cannot be done.

    path: a JSON file of YouTube-VIS 2019, 2021, 2022 or OVIS, or a folder as DAVIS has it, with
    a folder for each video and in it a mask picture for each frame.
    """
    if path.is_dir():
        return Annotations(_load_folder(path), has_classes=False, is_complete=False)
    return Annotations(load_dataset(path), has_classes=True, is_complete=True)


def annotations_fingerprint(path: Path) -> Fingerprint:
    """Return what tells annotations from others, given a path as for load_annotations."""
    if path.is_dir():
        pictures = sorted(path.glob('*/*.png'))
        return files_fingerprint(path, [file.relative_to(path).as_posix() for file in pictures])
    return {'sha256': file_sha256(path)}


def read_frame(images: Path, file_name: str) -> Bgr:
    """
    Return a frame, uint8 BGR [H, W, 3]; DatasetError if it is missing or broken.

    Another kind of picture of the same name does as well.
    """
    path = images / picture_name(images, file_name)
    if not path.is_file():
        raise DatasetError(f'{path}: no such picture; is --images the folder that holds it?')
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if picture is None:
        raise DatasetError(f'{path}: not a readable picture')
    return np.asarray(picture, np.uint8)


def picture_name(images: Path, file_name: str) -> Path:
    """Return the name of a frame's picture, which may be of another kind than the one told."""
    name = Path(file_name)
    for candidate in (name, *(name.with_suffix(suffix) for suffix in _PICTURES)):
        if (images / candidate).is_file():
            return candidate
    return name


def _load_folder(folder: Path) -> Dataset:
    videos: list[Video] = []
    tracks: list[GroundTruthTrack] = []
    for sequence in sorted(path for path in folder.iterdir() if path.is_dir()):
        pictures = sorted(sequence.glob('*.png'))
        if pictures:
            video, masks = _load_sequence(len(videos) + 1, sequence.name, pictures)
            videos.append(video)
            tracks += _objects(video, masks, first_id=len(tracks) + 1)
    if not videos:
        raise DatasetError(
            f'{folder}: expected a folder for each video, with a mask picture (.png) for each '
            'frame, and found none'
        )
    return Dataset(tuple(videos), (_OBJECT,), tuple(tracks))


def _load_sequence(
    video_id: int, name: str, pictures: Sequence[Path]
) -> tuple[Video, list[npt.NDArray[np.uint8]]]:
    masks = [_read_labels(path) for path in pictures]
    if len({mask.shape for mask in masks}) > 1:
        raise DatasetError(f'{pictures[0].parent}: the mask pictures differ in size')
    height, width = masks[0].shape
    file_names = tuple(f'{name}/{path.stem}.jpg' for path in pictures)
    return Video(video_id, height, width, len(masks), file_names), masks


def _read_labels(path: Path) -> npt.NDArray[np.uint8]:
    """Return the object of every pixel, uint8 [H, W], 0 for none: grey value or palette index."""
    try:
        with PIL.Image.open(path) as picture:
            labels = np.asarray(picture if picture.mode in 'LP' else picture.convert('L'))
    except OSError as error:
        raise DatasetError(f'{path}: not a readable mask picture: {error}') from error
    return labels.astype(np.uint8)


def _objects(
    video: Video, masks: Sequence[npt.NDArray[np.uint8]], first_id: int
) -> list[GroundTruthTrack]:
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
