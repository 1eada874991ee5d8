"""The three ways official files write one mask, read as the compressed RLE of pycocotools."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

Int64Array = npt.NDArray[np.int64]

# Every character carries six bits above '0'; the highest one says that the number goes on.
_COMPRESSED_COUNTS = re.compile(r'(?:[0-o]*[0-O])?')
_FEWEST_POLYGON_NUMBERS = 6


class SegmentationError(ValueError):
    """A segmentation entry that is no mask; the text says what was found and expected."""


class Rle(TypedDict):
    """A mask as pycocotools takes it: size [height, width] and compressed counts."""

    size: list[int]
    counts: str | bytes


@dataclass(frozen=True)
class MaskSequence:
    """
    The masks of one track, one entry per frame of its video.

    masks: one Rle per frame, None where the track is not visible.
    areas: int64 [frames], the mask's pixels; 0 where there is none.
    """

    masks: Sequence[Rle | None]
    areas: Int64Array

    @classmethod
    def from_masks(cls, masks: Sequence[Rle | None]) -> MaskSequence:
        """Measure the areas; SegmentationError if a mask has more pixels than its image."""
        shown = [mask for mask in masks if mask is not None]
        areas = np.zeros(len(masks), np.int64)
        if shown:
            areas[[mask is not None for mask in masks]] = coco_mask.area(shown)
        for index, (mask, area) in enumerate(zip(masks, areas.tolist(), strict=True)):
            if mask is not None and area > mask['size'][0] * mask['size'][1]:
                raise SegmentationError(
                    f'entry {index}: {area} pixels in a mask of size {mask["size"]}'
                )
        return cls(masks, areas)

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.masks)


def read_masks(entries: Sequence[Any], height: int, width: int) -> list[Rle | None]:
    """
    Return the masks of one track's segmentation entries, None for null and for an empty list.

    entries: each a list of polygons [[x0, y0, x1, y1, ...], ...] in pixels of a height x width
    image, or an RLE {'size': [height, width], 'counts': list of runs or compressed text}.
    Raises SegmentationError with the index of the entry.
    """
    masks: list[Rle | None] = []
    usual = [height, width]
    try:
        for entry in entries:
            masks.append(_read_mask(entry, usual) if entry else None)  # noqa: PERF401
    except SegmentationError as error:
        raise SegmentationError(f'entry {len(masks)}: {error}') from error
    return masks


def _read_mask(entry: Any, usual: list[int]) -> Rle:
    if isinstance(entry, list):
        return _from_polygons(entry, *usual)
    if not isinstance(entry, dict) or 'size' not in entry or 'counts' not in entry:
        raise SegmentationError(
            f"expected null, polygons or an RLE with 'size' and 'counts', got {_short(entry)}"
        )
    if entry['size'] != usual:
        _check_size(entry['size'])
    if isinstance(entry['counts'], list):
        return _from_runs(entry['size'], entry['counts'])
    return _checked_compressed(entry)


def _from_polygons(polygons: list[Any], height: int, width: int) -> Rle:
    for polygon in polygons:
        is_flat = isinstance(polygon, list) and all(isinstance(x, (int, float)) for x in polygon)
        if not is_flat or len(polygon) < _FEWEST_POLYGON_NUMBERS or len(polygon) % 2:
            raise SegmentationError(
                'expected polygons as lists of at least three x, y pairs, '
                f'got {_short(polygon)}'
            )
    merged: Rle = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
    return merged


def _from_runs(size: list[int], runs: list[Any]) -> Rle:
    try:
        total = sum(runs)
        if total != size[0] * size[1]:
            raise SegmentationError(
                f'the runs add up to {total} pixels, but size {size} has {size[0] * size[1]}'
            )
        rle: Rle = coco_mask.frPyObjects({'size': size, 'counts': runs}, size[0], size[1])
    except (TypeError, OverflowError) as error:
        raise SegmentationError(
            f'expected whole numbers >= 0 as runs, got {_short(runs)}'
        ) from error
    return rle


def _checked_compressed(entry: dict[str, Any]) -> Rle:
    counts = entry['counts']
    if not isinstance(counts, str) or _COMPRESSED_COUNTS.fullmatch(counts) is None:
        raise SegmentationError(
            f'expected a list of runs or compressed RLE text as counts, got {_short(counts)}'
        )
    return {'size': entry['size'], 'counts': counts}


def _check_size(size: Any) -> None:
    is_pair = isinstance(size, list) and len(size) == 2
    if not is_pair or not all(isinstance(side, int) and side > 0 for side in size):
        raise SegmentationError(f'expected a size of [height, width], got {_short(size)}')


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:57]}...'
