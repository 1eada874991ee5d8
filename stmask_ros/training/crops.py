# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Clips of still pictures: crops of one, between which the camera has moved a little."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from stmask_ros.evaluation.annotations import read_frame
from stmask_ros.evaluation.coco_file import CocoFile, load_coco
from stmask_ros.evaluation.rle import Rle
from stmask_ros.training.clips import Clip
from stmask_ros.training.frames import AnnotatedFrame, ClassMap, UInt8Array

Transform = npt.NDArray[np.float64]
# What lies outside of the picture is filled with this.
GREY = (104, 116, 124)
# A crop has at least so many of the picture's pixels in a row: of fewer, masks are steps.
NARROWEST = 120
# Between two crops: shift as a share of the crop, logarithm of the scale, turn [degree].
SHIFT, GROWTH, TURN = 0.08, 0.08, 3.0


@dataclass(frozen=True)
class CropConfig:
    """
    How pictures are cropped.

    height, width: of the crops [pixel]. scales: smallest and largest width of a crop, as a share
    of the picture's. around_objects: share of the crops that are chosen to show a drawn object at
    a drawn size instead, a share of the crop's longer side within sizes.
    repeats: clips of each picture in an epoch.
    """

    height: int = 288
    width: int = 512
    scales: tuple[float, float] = (0.4, 1.3)
    around_objects: float = 0.5
    sizes: tuple[float, float] = (0.15, 1.0)
    repeats: int = 1


@dataclass(frozen=True)
class Picture:
    """A picture: its file, size (height, width) [pixel], and its objects with their labels."""

    file_name: str
    size: tuple[int, int]
    masks: tuple[Rle, ...]
    labels: tuple[int, ...]


class PictureClips:
    """Moving crops of pictures in COCO's format; what is not annotated in them is not known."""

    def __init__(
        self, annotations: Path, images: Path, classes: ClassMap, config: CropConfig,
        length: int = 2, skip_bad: bool = False,
    ) -> None:
        """
        Read the annotations; DatasetError if they are not as COCO has them.

        length: crops of a clip. skip_bad: see load_coco.
        """
        self._images = images
        self._length = length
        self._config = config
        self._pictures = read_pictures(load_coco(annotations, skip_bad), classes)

    def __len__(self) -> int:
        """Return the clips of an epoch."""
        return len(self._pictures) * self._config.repeats

    def clip(self, number: int, rng: np.random.Generator) -> Clip:
        """Return crops of a picture, drawn by rng."""
        picture = self._pictures[number % len(self._pictures)]
        image = read_frame(self._images, picture.file_name, picture.size)
        masks = [np.asarray(coco_mask.decode(rle), np.uint8) for rle in picture.masks]
        window = self._window(image.shape[:2], picture, rng)
        windows = [window]
        while len(windows) < self._length:
            windows.append(self._moved(windows[-1], rng))
        return tuple(self._crop(image, masks, picture.labels, each) for each in windows)

    def _window(
        self, size: tuple[int, ...], picture: Picture, rng: np.random.Generator
    ) -> Transform:
        """Return the transform [2, 3] from the picture to a crop of it."""
        height, width = size[:2]
        center, span = rng.uniform(0.2, 0.8, 2) * (width, height), width * rng.uniform(
            *self._config.scales
        )
        if picture.masks and rng.random() < self._config.around_objects:
            x, y, w, h = coco_mask.toBbox(picture.masks[rng.integers(len(picture.masks))])
            span = max(max(w, 16 / 9 * h) / rng.uniform(*self._config.sizes), NARROWEST)
            center = np.array((x + w / 2, y + h / 2)) + rng.uniform(-0.3, 0.3, 2) * span / 2
        # Between the camera's pixels and those of a picture of another shape that is stretched.
        whole = (self._config.width * height) / (self._config.height * width)
        stretch = rng.uniform(min(whole, 1), max(whole, 1))
        scale = self._config.width / span
        return _towards(center, scale, scale / stretch, 0.0, self._middle)

    def _moved(self, window: Transform, rng: np.random.Generator) -> Transform:
        """Return the window as a camera sees it a moment later."""
        growth = float(np.exp(rng.uniform(-GROWTH, GROWTH)))
        shift = self._middle * 2 * rng.uniform(-SHIFT, SHIFT, 2)
        turn = _towards(
            self._middle + shift, growth, growth, rng.uniform(-TURN, TURN), self._middle
        )
        return np.asarray(turn @ np.vstack((window, (0, 0, 1))), np.float64)

    def _crop(
        self, image: UInt8Array, masks: list[UInt8Array], labels: tuple[int, ...],
        window: Transform,
    ) -> AnnotatedFrame:
        size = (self._config.width, self._config.height)
        smaller = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) \
            if window[0, 0] < 0.6 else image
        scaled = window.copy()
        scaled[:, :2] *= image.shape[1] / smaller.shape[1]
        pixels = cv2.warpAffine(
            smaller, scaled, size, flags=cv2.INTER_LINEAR, borderValue=GREY
        )
        shown = np.array([
            cv2.warpAffine(mask, window, size, flags=cv2.INTER_NEAREST) for mask in masks
        ], np.bool_).reshape(-1, size[1], size[0])
        return AnnotatedFrame(
            np.asarray(pixels, np.uint8), shown, np.array(labels, np.int64),
            np.arange(1, len(masks) + 1),
        )

    @property
    def _middle(self) -> npt.NDArray[np.float64]:
        return np.array((self._config.width, self._config.height)) / 2


def _towards(
    center: npt.NDArray[np.float64], scale_x: float, scale_y: float, angle: float,
    middle: npt.NDArray[np.float64],
) -> Transform:
    """Return the transform [2, 3] that scales and turns about a center, which goes to middle."""
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    linear = np.array(((cosine, -sine), (sine, cosine))) * ((scale_x,), (scale_y,))
    return np.column_stack((linear, middle - linear @ center))


def read_pictures(file: CocoFile, classes: ClassMap) -> list[Picture]:
    """Return all pictures, with those of their objects that have a class and are no crowds."""
    labels = {
        number: classes.label([category.name, category.supercategory])
        for number, category in file.categories.items()
    }
    shown: dict[int, list[tuple[Rle, int]]] = {number: [] for number in file.pictures}
    for entry in file.objects.values():
        label = labels[entry.category_id]
        if label is not None and not entry.is_crowd:
            shown[entry.picture_id].append((entry.mask, label))
    return [
        Picture(
            picture.file_name, (picture.height, picture.width),
            tuple(rle for rle, _ in shown[number]), tuple(label for _, label in shown[number]),
        )
        for number, picture in file.pictures.items()
    ]
