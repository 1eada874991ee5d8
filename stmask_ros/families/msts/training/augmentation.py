# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Clips varied as the authors do: colors frame by frame, crops and sizes (specification, 9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from stmask_ros.families.frames import AnnotatedFrame, Image, Size
from stmask_ros.families.msts.preprocess import resized

# Of networks that see images of a short side of 360 pixels; of others, in proportion.
SHORT_SIDE = 360
SHORT_SIDES = (288, 320, 352, 392, 416, 448, 480, 512)
LONGEST_SIDE = 768
BEFORE_CROP = (400, 500, 600)
CROPS = (384, 600)

Pixels = npt.NDArray[np.float32]
_Item = TypeVar('_Item')


def varied(
    clip: Sequence[AnnotatedFrame], short_side: int, rng: np.random.Generator
) -> tuple[list[AnnotatedFrame], int]:
    """
    Return a clip in other colors and, every second one, cropped; and the short side to see it at.

    short_side: of the images that the network sees otherwise [pixel]. A crop without any of the
    clip's objects is not taken.
    """
    unit = short_side / SHORT_SIDE
    frames = [replace(frame, image=distorted(frame.image, rng)) for frame in clip]
    if rng.integers(2):
        part = cropped(frames, unit, rng)
        if any(frame.masks.any() for frame in part):
            frames = part
    height, width = frames[0].image.shape[:2]
    longest = unit * LONGEST_SIDE * min(height, width) / max(height, width)
    return frames, max(1, round(min(unit * _one_of(SHORT_SIDES, rng), longest)))


def cropped(
    clip: Sequence[AnnotatedFrame], unit: float, rng: np.random.Generator
) -> list[AnnotatedFrame]:
    """Return the same part of all frames, at another size; unit: factor on all sizes."""
    side = round(unit * _one_of(BEFORE_CROP, rng))
    frames = [scaled(frame, side) for frame in clip]
    low, high = (round(unit * limit) for limit in CROPS)
    sizes = [
        int(rng.integers(min(low, full), min(high, full), endpoint=True))
        for full in frames[0].image.shape[:2]
    ]
    top, left = (
        int(rng.integers(full - size, endpoint=True))
        for full, size in zip(frames[0].image.shape, sizes, strict=False)
    )
    rows, columns = slice(top, top + sizes[0]), slice(left, left + sizes[1])
    return [
        replace(frame, image=frame.image[rows, columns], masks=frame.masks[:, rows, columns])
        for frame in frames
    ]


def scaled(frame: AnnotatedFrame, short_side: int) -> AnnotatedFrame:
    """Return a frame of this short side."""
    image = resized(frame.image, short_side)
    size: Size = (image.shape[0], image.shape[1])
    masks = [
        cv2.resize(mask.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST)
        for mask in frame.masks
    ]
    return replace(frame, image=image, masks=np.array(masks, np.bool_).reshape(-1, *size))


def distorted(image: Image, rng: np.random.Generator) -> Image:
    """Return an image in other colors: each of five changes with a probability of one half."""
    pixels = image[..., ::-1].astype(np.float32)
    if rng.integers(2):
        pixels = pixels + np.float32(rng.uniform(-32, 32))
    if rng.integers(2):
        pixels = _other_hue(_other_contrast(pixels, rng), rng)
    else:
        pixels = _other_contrast(_other_hue(pixels, rng), rng)
    if rng.integers(2):
        pixels = pixels[..., rng.permutation(3)]
    return np.ascontiguousarray(pixels[..., ::-1].clip(0, 255).astype(np.uint8))


def _other_contrast(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    return pixels * np.float32(rng.uniform(0.5, 1.5)) if rng.integers(2) else pixels


def _other_hue(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    # Red is taken for blue, as released.
    hsv = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2HSV), np.float32)
    if rng.integers(2):
        hsv[..., 1] *= rng.uniform(0.5, 1.5)
    if rng.integers(2):
        hsv[..., 0] = (hsv[..., 0] + rng.uniform(-18, 18)) % 360
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR), np.float32)


def _one_of(values: Sequence[_Item], rng: np.random.Generator) -> _Item:
    return values[int(rng.integers(len(values)))]
