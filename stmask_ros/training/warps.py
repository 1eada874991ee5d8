# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Clips of still pictures as MS-STS learns from COCO: a picture among warped copies of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from stmask_ros.evaluation.annotations import read_frame
from stmask_ros.evaluation.coco_file import load_coco
from stmask_ros.evaluation.dataset import DatasetError
from stmask_ros.training.clips import Clip
from stmask_ros.training.crops import Picture, read_pictures
from stmask_ros.training.frames import AnnotatedFrame, ClassMap, UInt8Array

MOST_OBJECTS = 25
# How far corners move (standard deviation, share of the sides); shift, share of the sides; turn
# [degree].
PERSPECTIVE, SHIFT, TURN = 0.08, 0.1, 20.0
# Of the copies, the share that are blurred and change colors; length of the blur [pixel]; most
# that brightness, and hue and saturation, change.
DISTORTED, BLURS, BRIGHTNESS, COLOR = 0.25, (9, 11), 40, 5


class WarpedPictures:
    """A picture and warped copies, in any order; of overlapping objects the later is on top."""

    def __init__(
        self, annotations: Path, images: Path, classes: ClassMap, length: int = 5,
        skip_bad: bool = False,
    ) -> None:
        """
        Read the annotations; DatasetError if they are not as COCO has them, or nothing is left.

        length: frames of a clip. Pictures with no or with more than 25 objects are left out.
        skip_bad: see load_coco.
        """
        self._images = images
        self._length = length
        self._pictures = [
            picture for picture in read_pictures(load_coco(annotations, skip_bad), classes)
            if 1 <= len(picture.masks) <= MOST_OBJECTS
        ]
        if not self._pictures:
            raise DatasetError(f'{annotations}: no picture has 1 to {MOST_OBJECTS} objects')

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self._pictures)

    def clip(self, number: int, rng: np.random.Generator) -> Clip:
        """Return the clip of a picture, drawn by rng."""
        still = whole(self._images, self._pictures[number])
        frames = [still, *(warped(still, rng) for _ in range(self._length - 1))]
        return tuple(frames[place] for place in rng.permutation(len(frames)))


def whole(images: Path, picture: Picture) -> AnnotatedFrame:
    """Return a picture with what is visible of its objects."""
    masks = np.array([coco_mask.decode(rle) for rle in picture.masks], np.bool_)
    for number, mask in enumerate(masks):
        masks[:number, mask] = False
    return AnnotatedFrame(
        read_frame(images, picture.file_name, picture.size), masks,
        np.array(picture.labels, np.int64), np.arange(1, len(masks) + 1),
    )


def warped(frame: AnnotatedFrame, rng: np.random.Generator) -> AnnotatedFrame:
    """Return a frame as a camera elsewhere sees it."""
    height, width = frame.image.shape[:2]
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float32)
    inward = np.abs(rng.normal(0, PERSPECTIVE, (4, 2))).clip(0, 0.4) * (1 - 2 * corners)
    size = np.array((width, height), np.float32)
    view = cv2.getPerspectiveTransform(
        ((corners + inward) * size).astype(np.float32), corners * size
    )
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-TURN, TURN), 1)
    shift = np.column_stack((np.zeros((2, 2)), rng.uniform(-SHIFT, SHIFT, 2) * size))
    transform = np.vstack((turn + shift, (0, 0, 1))) @ view
    image = np.asarray(cv2.warpPerspective(frame.image, transform, (width, height)), np.uint8)
    masks = np.array([
        cv2.warpPerspective(
            mask.astype(np.uint8), transform, (width, height), flags=cv2.INTER_NEAREST)
        for mask in frame.masks
    ], np.bool_)
    if rng.random() < DISTORTED:
        image = distorted(image, rng)
    return replace(frame, image=image, masks=masks)


def distorted(image: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    """Return an image blurred by a motion, and brighter or of another hue, or both."""
    length = int(rng.choice(BLURS))
    line = np.zeros((length, length), np.float32)
    line[length // 2] = 1
    turn = cv2.getRotationMatrix2D((length // 2, length // 2), rng.uniform(0, 360), 1)
    kernel = cv2.warpAffine(line, turn, (length, length))
    pixels = cv2.filter2D(image, -1, kernel / kernel.sum()).astype(np.float32)
    kind = rng.integers(3)
    if kind != 1:
        pixels += rng.uniform(-BRIGHTNESS, BRIGHTNESS)
    if kind != 0:
        hsv = cv2.cvtColor(pixels.clip(0, 255).astype(np.uint8), cv2.COLOR_BGR2HSV).astype(int)
        hue, saturation = rng.integers(-COLOR, COLOR, 2, endpoint=True)
        hsv[..., 0] = (hsv[..., 0] + hue) % 180
        hsv[..., 1] = (hsv[..., 1] + saturation).clip(0, 255)
        pixels = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2BGR).astype(np.float32)
    return np.asarray(pixels.clip(0, 255), np.uint8)
