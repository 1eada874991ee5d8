# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Real objects to cut out, and the pictures that they came from as backgrounds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from stmask_ros.evaluation.annotations import Annotations, read_frame
from stmask_ros.evaluation.coco_file import CocoObject, load_coco
from stmask_ros.evaluation.dataset import DatasetError
from stmask_ros.evaluation.records import BadEntries
from stmask_ros.evaluation.rle import Rle
from stmask_ros.training.frames import AnnotatedFrame, BoolArray, ClassMap, UInt8Array

# A smaller object [pixel] makes a blurred cutout.
SMALLEST_CUTOUT = 2500
# More objects than this make a crowded background, in which often some are not annotated.
MOST_IN_BACKGROUND = 6
# Of the object's outline that may lie on the border of its picture: there it is cut off.
MOST_AT_BORDER = 0.05
# Of the object that its largest piece has; in others, something else stands before it.
LEAST_IN_ONE_PIECE = 0.9


@dataclass(frozen=True)
class Cutout:
    """An object alone. pixels: uint8 BGR [h, w, 3]; mask: bool [h, w]; label: its class."""

    pixels: UInt8Array
    mask: BoolArray
    label: int


@dataclass(frozen=True)
class Library:
    """What clips are made of, in memory: good for a few thousand pictures."""

    cutouts: tuple[Cutout, ...]
    backgrounds: tuple[AnnotatedFrame, ...]

    @classmethod
    def of(
        cls, pictures: Iterable[AnnotatedFrame], most_in_background: int = MOST_IN_BACKGROUND
    ) -> Library:
        """
        Cut the objects out of pictures, and keep those with few as backgrounds.

        most_in_background: objects of such a picture.

        Raises DatasetError if nothing is left of one of the two.
        """
        cutouts: list[Cutout] = []
        backgrounds = []
        for picture in pictures:
            cutouts.extend(_cutouts(picture))
            if len(picture.masks) <= most_in_background:
                backgrounds.append(picture)
        if not cutouts or not backgrounds:
            raise DatasetError(
                f'{len(cutouts)} cutouts and {len(backgrounds)} backgrounds: expected at least '
                f'one of each; an object must have {SMALLEST_CUTOUT} pixels, in one piece, within '
                f'its picture, a background at most {most_in_background} objects'
            )
        return cls(tuple(cutouts), tuple(backgrounds))


def coco_pictures(
    annotations: Path, images: Path, classes: ClassMap, skip_bad: bool = False
) -> Iterator[AnnotatedFrame]:
    """
    Yield the pictures of a file in COCO's format that have no crowd.

    classes: looked up by the category's name, then its supercategory. skip_bad: leave out entries
    and pictures that are broken, with a warning of how many. Raises DatasetError.
    """
    file = load_coco(annotations, skip_bad)
    labels = {
        number: classes.label([category.name, category.supercategory])
        for number, category in file.categories.items()
    }
    objects: dict[int, list[CocoObject]] = {number: [] for number in file.pictures}
    for entry in file.objects.values():
        objects[entry.picture_id].append(entry)
    bad = BadEntries(skip_bad)
    for picture in file.pictures.values():
        entries = objects[picture.id]
        if not any(entry.is_crowd for entry in entries):
            with bad.left_out():
                yield _picture(
                    images, picture.file_name, (picture.height, picture.width),
                    [entry.mask for entry in entries],
                    [labels[entry.category_id] for entry in entries],
                )
    bad.tell()


def video_pictures(
    loaded: Annotations, images: Path, classes: ClassMap, stride: int = 10
) -> Iterator[AnnotatedFrame]:
    """
    Yield every stride-th frame of annotated videos.

    classes: looked up by the video's name in a folder, which has no classes, else by the
    category's. Raises DatasetError.
    """
    names = {category.id: category.name for category in loaded.dataset.categories}
    for video in loaded.dataset.videos:
        tracks = [t for t in loaded.dataset.tracks if t.video_id == video.id and not t.is_crowd]
        keys = [[names[t.category_id]] if loaded.has_classes else [video.name] for t in tracks]
        found = [classes.label(key) for key in keys]
        for frame in range(0, video.length, stride):
            rles = [track.sequence.masks[frame] for track in tracks]
            size = (video.height, video.width)
            yield _picture(images, video.file_names[frame], size, rles, found)


def _picture(
    images: Path, file_name: str, size: tuple[int, int], rles: Sequence[Rle | None],
    labels: Sequence[int | None],
) -> AnnotatedFrame:
    picture = read_frame(images, file_name, size)
    known = [(r, n) for r, n in zip(rles, labels, strict=True) if r is not None and n is not None]
    masks = np.zeros((len(known), *picture.shape[:2]), np.bool_)
    for mask, (rle, _) in zip(masks, known, strict=True):
        mask[:] = coco_mask.decode(rle)
    return AnnotatedFrame(
        picture, masks, np.array([label for _, label in known], np.int64),
        np.arange(1, len(known) + 1),
    )


def _cutouts(picture: AnnotatedFrame) -> Iterator[Cutout]:
    for mask, label in zip(picture.masks, picture.labels.tolist(), strict=True):
        if (
            mask.sum() < SMALLEST_CUTOUT
            or _share_at_border(mask) > MOST_AT_BORDER
            or _share_of_largest_piece(mask) < LEAST_IN_ONE_PIECE
        ):
            continue
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        window = np.s_[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
        yield Cutout(picture.image[window].copy(), mask[window].copy(), label)


def _share_at_border(mask: BoolArray) -> float:
    height, width = mask.any(1).sum(), mask.any(0).sum()
    border = mask[0].sum() + mask[-1].sum() + mask[:, 0].sum() + mask[:, -1].sum()
    return float(border / (2 * (height + width)))


def _share_of_largest_piece(mask: BoolArray) -> float:
    _, _, pieces, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    areas = pieces[1:, cv2.CC_STAT_AREA]  # the first is what is not in the mask
    return float(areas.max() / areas.sum())
