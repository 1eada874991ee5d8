# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Where in its images an operator looks for objects: a region, and places that never count."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import PIL.Image

from stmask_ros.families.frames import Size
from stmask_ros.masks import BoolArray
from stmask_ros.tracking.view import View

_GREY = ('1', 'L', 'I', 'I;16', 'I;16B')


class RegionError(ValueError):
    """An image in which the region has no pixel."""


@dataclass(frozen=True)
class Region:
    """
    A rectangle or a polygon.

    points: (x, y) of two opposite corners, or of three or more corners in their order [pixel of
    the image]; fractions of its width and height if none is larger than 1.
    """

    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        """Raise ValueError unless the points enclose something."""
        if any(not math.isfinite(value) or value < 0 for point in self.points for value in point):
            raise ValueError(f'region: expected numbers from 0 on, got {self}')
        spans = [max(axis) - min(axis) for axis in zip(*self.points, strict=True)]
        if len(self.points) < 2 or min(spans) <= 0:
            raise ValueError(f'region: {self} has no area')

    def __str__(self) -> str:
        """Return the text that parsed() reads."""
        return ', '.join(f'{x:g} {y:g}' for x, y in self.points)

    @classmethod
    def parsed(cls, text: str) -> Region:
        """Return the region of a text such as '0 0.2 1 1' (x y x y) or '0 0, 90 0, 50 99'."""
        try:
            numbers = [float(word) for word in text.replace(',', ' ').split()]
        except ValueError:
            numbers = []
        if len(numbers) < 4 or len(numbers) % 2:
            raise ValueError(
                f"region: '{text}' is neither two corners, such as '0 0.2 1 1', nor three or "
                "more, such as '0 0, 90 0, 50 99'"
            )
        return cls(tuple(zip(numbers[::2], numbers[1::2], strict=True)))

    def pixels(self, size: Size) -> BoolArray:
        """Return which pixels of an image of this size are inside, bool [H, W]."""
        height, width = size
        points = np.array(self.points)
        if points.max() <= 1:
            points = points * (width, height)
        if len(points) == 2:
            (left, top), (right, bottom) = points
            points = np.array(((left, top), (right, top), (right, bottom), (left, bottom)))
        # A center of a pixel is inside if an odd number of edges is to the right of it.
        x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
        inside = np.zeros(size, bool)
        for (x0, y0), (x1, y1) in zip(points, np.roll(points, 1, axis=0), strict=True):
            crossed = np.flatnonzero((y0 > y) != (y1 > y))
            edge = x0 + (y[crossed] - y0) * (x1 - x0) / (y1 - y0 or 1)
            inside[crossed] ^= x < edge[:, None]
        return inside


@dataclass(frozen=True, eq=False)
class IgnoreMask:
    """Pixels that never count, bool [H, W], of any size: stretched over an image."""

    pixels: BoolArray

    def __post_init__(self) -> None:
        """Raise ValueError without a pixel."""
        if self.pixels.ndim != 2 or self.pixels.size == 0:
            raise ValueError(
                f'expected a mask of at least one pixel, got {list(self.pixels.shape)}; one of '
                'zeros ignores nothing'
            )

    @classmethod
    def read(cls, path: str) -> IgnoreMask:
        """Return the mask of a PNG: pixels that are not black; ValueError if it is none."""
        try:
            return _read(path, Path(path).stat().st_mtime_ns)
        except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
            raise ValueError(f"ignore_mask: '{path}' cannot be read as a PNG: {error}") from error

    def stretched(self, size: Size) -> BoolArray:
        """Return the mask for an image of this size."""
        if self.pixels.shape == size:
            return self.pixels
        mask = self.pixels.view(np.uint8)
        return cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST) > 0


@lru_cache(maxsize=16)
def _read(path: str, _modified: int) -> IgnoreMask:
    with PIL.Image.open(path, formats=('PNG',)) as picture:
        if picture.mode in _GREY:
            return IgnoreMask(np.asarray(np.asarray(picture) != 0, bool))
        return IgnoreMask(np.asarray(np.asarray(picture.convert('RGB')).any(axis=2), bool))


@dataclass(frozen=True)
class Look:
    """
    Where to look, in images of any size.

    region: the only place where objects are, None for everywhere. ignored: where none are, by
    each of the masks. crop: whether the network sees no more than the rectangle around the
    region, and that at its full resolution.
    """

    region: Region | None = None
    ignored: tuple[IgnoreMask, ...] = ()
    crop: bool = False

    def at(self, size: Size) -> View:
        """Return what this means for frames of a size; RegionError if the region is outside."""
        whole = View.whole(size)
        if self.region is None and not self.ignored:
            return whole
        visible = np.ones(size, bool) if self.region is None else self.region.pixels(size)
        if not visible.any():
            raise RegionError(
                f'the region {self.region} has no pixel in an image of {size[1]}x{size[0]}'
            )
        window = whole.window
        if self.crop:
            rows, columns = (np.flatnonzero(visible.any(axis)) for axis in (1, 0))
            window = (int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
        for mask in self.ignored:
            visible &= ~mask.stretched(size)
        return View(size, window, visible)


EVERYWHERE = Look()
