# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Where to look in frames of one size, and what that leaves of the tracks in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias

import numpy as np

from stmask_ros.families.family import ShownTracks
from stmask_ros.families.frames import Image, Size
from stmask_ros.masks import BoolArray, Int64Array, RegionMask

# First row and column, and those behind the last [pixel].
Window: TypeAlias = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class View:
    """
    Where to look in a frame.

    size: its height and width [pixel]. window: the part that the network sees. visible: where
    objects are, bool [height, width]; None for everywhere.
    """

    size: Size
    window: Window
    visible: BoolArray | None = None

    @classmethod
    def whole(cls, size: Size) -> View:
        """Return the view of everything."""
        return cls(size, (0, 0, *size))

    @property
    def window_size(self) -> Size:
        """Height and width of the window [pixel]."""
        top, left, bottom, right = self.window
        return bottom - top, right - left

    @property
    def is_cropped(self) -> bool:
        """Whether the network sees less than the frame."""
        return self.window_size != self.size

    def part(self, image: Image) -> Image:
        """Return the window of an image, which may be a smaller version of the frame."""
        if not self.is_cropped:
            return image
        rows, columns = (
            _part(self.window[axis], self.window[axis + 2], image.shape[axis] / self.size[axis])
            for axis in (0, 1)
        )
        return image[rows, columns]

    def wanted_size(self, scaled_size: Callable[[Size], Size]) -> Size:
        """Return the frame's size when its window is as large as scaled_size() says [pixel]."""
        if not self.is_cropped:
            return scaled_size(self.size)
        scaled, seen = scaled_size(self.window_size), self.window_size
        height, width = (
            -(-full * new // old) for full, new, old in zip(self.size, scaled, seen, strict=True)
        )
        return height, width

    def of_tracks(self, tracks: ShownTracks, reported: frozenset[int]) -> ShownTracks:
        """
        Return tracks of the window as tracks of the frame, without what is not looked at.

        Masks are cut where nothing is visible, boxes with them. A track that no result has
        reported yet waits while most of its mask is cut; one that was reported is left out while
        all of it is.
        """
        if self.is_cropped:
            tracks = _moved(tracks, self.window)
        if self.visible is None:
            return tracks
        masks = [mask.within(self.visible) for mask in tracks.masks]
        before = np.array([mask.area for mask in tracks.masks], np.int64)
        after = np.array([mask.area for mask in masks], np.int64)
        known = np.isin(tracks.ids, list(reported))
        least = np.where(known, 1, np.maximum(before - before // 2, 1))
        seen = np.where(before > 0, after >= least, self._holds_centers(tracks))
        boxes = np.where((after < before)[:, None], _within(tracks, masks), tracks.boxes)
        rows = np.flatnonzero(np.where(tracks.ended, known, seen))
        return _rows(replace(tracks, boxes=boxes, masks=masks), rows)

    def _holds_centers(self, tracks: ShownTracks) -> BoolArray:
        assert self.visible is not None
        centers = np.nan_to_num(tracks.boxes.reshape(-1, 2, 2).mean(1))
        x, y = centers.T.astype(np.int64)
        rows, columns = y.clip(0, self.size[0] - 1), x.clip(0, self.size[1] - 1)
        return np.asarray(self.visible[rows, columns], bool)


def _part(first: int, end: int, scale: float) -> slice:
    start = min(round(first * scale), round(end * scale) - 1)
    return slice(max(start, 0), max(round(end * scale), 1))


def _moved(tracks: ShownTracks, window: Window) -> ShownTracks:
    # Boxes end with the window, as those of a whole frame do with the frame.
    top, left, bottom, right = window
    masks = [
        replace(mask, x_offset=mask.x_offset + left, y_offset=mask.y_offset + top)
        if mask.pixels.size else mask for mask in tracks.masks
    ]
    first, end = np.array((left, top) * 2, np.float32), np.array((right, bottom) * 2, np.float32)
    return replace(tracks, boxes=(tracks.boxes + first).clip(first, end), masks=masks)


def _within(tracks: ShownTracks, masks: list[RegionMask]) -> Any:
    # The boxes, no larger than those around their masks.
    around = np.array([
        (m.x_offset, m.y_offset, m.x_offset + m.width, m.y_offset + m.height) for m in masks
    ], np.float32).reshape(-1, 4)
    low = np.maximum(tracks.boxes[:, :2], around[:, :2])
    return np.concatenate((low, np.maximum(np.minimum(tracks.boxes, around)[:, 2:], low)), 1)


def _rows(tracks: ShownTracks, rows: Int64Array) -> ShownTracks:
    arrays: dict[str, Any] = {
        field.name: getattr(tracks, field.name)[rows]
        for field in fields(tracks) if field.name != 'masks'
    }
    return ShownTracks(**arrays, masks=[tracks.masks[row] for row in rows])
