# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The three ways official files write one mask, and the masks of a track decoded to spans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any, TypedDict, cast

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from stmask_ros.run_lengths import RunError, decode_spans, short

Int64Array = npt.NDArray[np.int64]

_FEWEST_POLYGON_NUMBERS = 6
# What lies farther away is no coordinate [pixel].
_FARTHEST = 1e7
# Of the sides of the picture together; decoding takes time and memory in proportion.
_LONGEST_OUTLINE = 200
_MOST_SIDE = 1 << 16
_SIZE, _COUNTS = itemgetter('size'), itemgetter('counts')


class SegmentationError(ValueError):
    """A segmentation entry that is no mask; the text says what was found and expected."""


class Rle(TypedDict):
    """A mask: size [height, width], and counts as a list of runs or as compressed text."""

    size: list[int]
    counts: str | bytes | list[int]


@dataclass(frozen=True)
class MaskSequence:
    """
    The masks of one track, one for each frame of its video that shows it.

    areas: int64 [frames], the mask's pixels; 0 where there is none.
    sizes: int64 [frames, 2], height and width of the image the mask is of; 0 where there is none.
    spans: int32 [spans, 2], first pixel and the one after the last of every run of mask pixels,
    column by column in its image; all frames in order.
    span_counts: int64 [frames], how many spans each frame has.
    """

    areas: Int64Array
    sizes: Int64Array
    spans: npt.NDArray[np.int32]
    span_counts: Int64Array

    @classmethod
    def from_masks(cls, masks: Sequence[Rle | None]) -> MaskSequence:
        """Decode the masks; SegmentationError if one is broken or larger than its image."""
        return decode_tracks([masks])[0]

    def mask(self, frame: int) -> Rle | None:
        """Return the mask of a frame, None if there is none."""
        height, width = self.sizes[frame].tolist()
        if not height:
            return None
        end = int(self.span_counts[:frame + 1].sum())
        edges = self.spans[end - int(self.span_counts[frame]):end].ravel()
        runs = np.diff(edges, prepend=0, append=height * width)
        if edges.size and runs[-1] == 0:
            runs = runs[:-1]
        encoded: Rle = coco_mask.frPyObjects(
            {'size': [height, width], 'counts': runs}, height, width
        )
        return encoded

    @property
    def masks(self) -> list[Rle | None]:
        """All masks; prefer `mask` for a few."""
        return [self.mask(frame) for frame in range(len(self))]

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.areas)


def decode_tracks(tracks: Sequence[Sequence[Rle | None]]) -> list[MaskSequence]:
    """
    Decode the masks of some tracks in one go, twice as fast as one by one.

    Raises SegmentationError if one is broken or larger than its image, with the index of the
    entry counted through all tracks.
    """
    masks = list(chain.from_iterable(tracks))
    shown = np.flatnonzero([mask is not None for mask in masks])
    present = [mask for mask in masks if mask is not None]
    sizes = np.zeros((len(masks), 2), np.int64)
    sizes[shown] = np.fromiter(chain.from_iterable(map(_SIZE, present)), np.int64).reshape(-1, 2)
    areas, span_counts = np.zeros((2, len(masks)), np.int64)
    try:
        spans, span_counts[shown], areas[shown] = decode_spans(
            list(map(_COUNTS, present)), sizes[shown], exact=False
        )
    except RunError as error:
        raise SegmentationError(f'entry {shown[error.mask]}: {error}') from error
    ends = np.cumsum([len(track) for track in tracks]).tolist()
    span_ends = np.concatenate([[0], span_counts.cumsum()])[ends].tolist()
    return [
        MaskSequence(
            areas[start:end], sizes[start:end], spans[first:last], span_counts[start:end]
        )
        for start, end, first, last in zip(
            [0, *ends], ends, [0, *span_ends], span_ends, strict=False
        )
    ]


def read_masks(entries: Sequence[Any], height: int, width: int) -> list[Rle | None]:
    """
    Return the masks of one track's segmentation entries, None for null and for an empty list.

    entries: each a list of polygons [[x0, y0, x1, y1, ...], ...] in pixels of a height x width
    image, or an RLE {'size': [height, width], 'counts': list of runs or compressed text}.
    Raises SegmentationError with the index of the entry.
    """
    usual = [height, width]
    masks: list[Rle | None] = [entry or None for entry in entries]
    if _are_usual(masks, usual):
        return masks
    for index, entry in enumerate(masks):
        if entry is not None:
            try:
                masks[index] = _read_mask(entry, usual)
            except SegmentationError as error:
                raise SegmentationError(f'entry {index}: {error}') from error
    return masks


def _are_usual(entries: Sequence[Any], usual: list[int]) -> bool:
    """Return whether all are RLEs of this size, or None: twice as fast as one by one."""
    present = [entry for entry in entries if entry is not None]
    try:
        sizes = list(map(_SIZE, present))
        kinds = set(map(type, map(_COUNTS, present)))
    except (KeyError, TypeError):
        return False
    return sizes.count(usual) == len(sizes) and kinds <= {list, str}


def _read_mask(entry: Any, usual: list[int]) -> Rle:
    if isinstance(entry, list):
        return _from_polygons(entry, *usual)
    if not isinstance(entry, dict) or 'size' not in entry or 'counts' not in entry:
        raise SegmentationError(
            f"expected null, polygons or an RLE with 'size' and 'counts', got {short(entry)}"
        )
    if entry['size'] != usual:
        _check_size(entry['size'])
    if not isinstance(entry['counts'], (list, str)):
        raise SegmentationError(
            'expected a list of runs or compressed RLE text as counts, '
            f'got {short(entry["counts"])}'
        )
    return cast('Rle', entry)


def _from_polygons(polygons: list[Any], height: int, width: int) -> Rle:
    """
    Return the mask of some polygons as pycocotools reads it.

    A part of less than three points beside others has no pixels, and half a point at the end is
    left out.
    """
    parts = []
    for polygon in polygons:
        if not isinstance(polygon, list) or not all(map(_is_coordinate, polygon)):
            raise SegmentationError(
                'expected polygons as lists of x, y pairs of finite numbers, '
                f'got {short(polygon)}'
            )
        if len(polygon) >= _FEWEST_POLYGON_NUMBERS:
            parts.append(_checked_polygon(polygon, height, width))
    if not parts:
        raise SegmentationError(
            f'expected a polygon of at least three x, y pairs, got {short(polygons)}')
    merged: Rle = coco_mask.merge(coco_mask.frPyObjects(parts, height, width))
    return merged


def _is_coordinate(value: Any) -> bool:
    return isinstance(value, (int, float)) and abs(value) < _FARTHEST


def _checked_polygon(polygon: list[float], height: int, width: int) -> list[float]:
    """Return whole points; SegmentationError for an outline that would take too much memory."""
    points = np.array(polygon[:len(polygon) // 2 * 2], np.float64).reshape(-1, 2)
    length = np.abs(np.diff(points, axis=0, append=points[:1])).max(1, initial=0).sum()
    if length > _LONGEST_OUTLINE * (height + width):
        raise SegmentationError(
            f'its outline of {length:.0f} pixels is too long for a picture of {width}x{height}')
    whole: list[float] = points.ravel().tolist()
    return whole


def _check_size(size: Any) -> None:
    is_pair = isinstance(size, list) and len(size) == 2
    if not is_pair or not all(isinstance(side, int) and 0 < side <= _MOST_SIDE for side in size):
        raise SegmentationError(f'expected a size of [height, width], got {short(size)}')
