# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""From soft masks on a coarse map to their pixels in an image."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from stmask_ros.masks import RegionMask

BINARY_THRESHOLD = 0.5

Size = tuple[int, int]


def image_masks(
    soft: Tensor, height: int, width: int, whole: Size | None = None
) -> list[RegionMask]:
    """
    Scale soft masks [N, h, w] to an image of this size, bilinearly, and take them at one half.

    whole: (height, width) that the masks are scaled to, the image at the top left of it, which
    may reach further or less far; None for the image itself.
    On a CPU, each where it is; on a device, all of them there, and their bits are copied.
    """
    whole = whole or (height, width)
    height, width = min(height, whole[0]), min(width, whole[1])
    if soft.device.type == 'cpu':
        return [region_mask(mask, height, width, whole) for mask in soft.numpy()]
    return whole_masks(soft, height, width, whole)


def region_mask(
    soft: npt.NDArray[np.float32], height: int, width: int, whole: Size | None = None
) -> RegionMask:
    """
    Return one of image_masks(), of [h, w].

    Only the surroundings of the mask are computed; the result equals scaling the whole of it.
    """
    whole = whole or (height, width)
    rows = _span(soft.max(1, initial=0) > 0, whole[0], height)
    columns = _span(soft.max(0, initial=0) > 0, whole[1], width)
    if not rows or not columns:
        return RegionMask.empty()
    pixels = _scaled(torch.from_numpy(soft), rows, columns, *whole)
    return _moved(RegionMask.from_full(pixels.numpy()), rows.start, columns.start)


def whole_masks(
    soft: Tensor, height: int, width: int, whole: Size | None = None
) -> list[RegionMask]:
    """Return image_masks() of soft masks on any device; the host reads eight pixels a byte."""
    pixels = _scaled(soft, range(height), range(width), *(whole or (height, width)))
    pixels = F.pad(pixels, (0, -width % 8)).unflatten(2, (-1, 8))
    digit = 1 << torch.arange(7, -1, -1, device=soft.device)
    bits = (pixels * digit.byte()).sum(-1, dtype=torch.uint8).cpu().numpy()
    return [_unpacked(mask) for mask in bits]


def _unpacked(bits: npt.NDArray[np.uint8]) -> RegionMask:
    # Only the rows and bytes around the mask are unpacked.
    rows, columns = (np.flatnonzero(bits.any(axis)) for axis in (1, 0))
    if rows.size == 0:
        return RegionMask.empty()
    around = bits[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
    region = RegionMask.from_full(np.unpackbits(around, axis=1).astype(bool))
    return _moved(region, int(rows[0]), 8 * int(columns[0]))


def _moved(mask: RegionMask, rows: int, columns: int) -> RegionMask:
    if mask.area == 0:
        return mask
    return RegionMask(mask.x_offset + columns, mask.y_offset + rows, mask.pixels)


def _span(used: npt.NDArray[np.bool_], size: int, shown: int) -> range:
    # The pixels, among those shown, of an axis of `size` that cells marked used can reach.
    cells = np.flatnonzero(used)
    if cells.size == 0:
        return range(0)
    scale = size / used.size
    start = int((cells[0] - 0.5) * scale)
    stop = int(np.ceil((cells[-1] + 1.5) * scale))
    return range(max(start, 0), min(stop, shown))


def _scaled(soft: Tensor, rows: range, columns: range, height: int, width: int) -> Tensor:
    # Bool [..., rows, columns] of soft masks [..., h, w] scaled to an image.
    above, below, y_fraction = _bilinear(rows, soft.shape[-2], height, soft.device)
    left, right, x_fraction = _bilinear(columns, soft.shape[-1], width, soft.device)
    upper, lower = (
        line.index_select(-1, left) * (1 - x_fraction) + line.index_select(-1, right) * x_fraction
        for line in (soft.index_select(-2, above), soft.index_select(-2, below))
    )
    y_fraction = y_fraction.unsqueeze(-1)
    return upper * (1 - y_fraction) + lower * y_fraction > BINARY_THRESHOLD


def _bilinear(
    pixels: range, cells: int, size: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    # The two cells on either side of each pixel's center, and how far it is towards the second.
    first, second, fraction = _bilinear_axis(cells, size, device)
    here = slice(pixels.start, pixels.stop)
    return first[here], second[here], fraction[here]


@lru_cache(maxsize=32)
def _bilinear_axis(cells: int, size: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    center = torch.arange(size, dtype=torch.float32, device=device) + 0.5
    position = (center * (cells / size) - 0.5).clamp(min=0)
    first = position.long()
    return first, (first + 1).clamp(max=cells - 1), position - first
