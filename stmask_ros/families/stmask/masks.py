"""Soft masks from prototypes, and their pixels in the image (specification, section 9)."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from stmask_ros.families.stmask.preprocess import Geometry
from stmask_ros.layers.boxes import to_cells
from stmask_ros.masks import RegionMask

BINARY_THRESHOLD = 0.5


def assemble(
    prototypes: Tensor, coefficients: Tensor, boxes: Tensor,
    activation: Literal['tanh', 'none'] = 'tanh',
) -> Tensor:
    """
    Combine prototypes into soft masks, and crop each to its box and one cell around.

    prototypes: [..., H, W, P]; coefficients: [..., N, P] before their activation; boxes:
    [..., N, 4] fractions of the padded input. Returns [..., N, H, W] in [0, 1] (equation 9).
    """
    height, width = prototypes.shape[-3:-1]
    if activation == 'tanh':
        coefficients = coefficients.tanh()
    masks = (coefficients @ prototypes.flatten(-3, -2).mT).sigmoid()
    masks = masks.view(*masks.shape[:-1], height, width)
    return torch.where(crop_window(boxes, height, width), masks, 0)


def crop_window(boxes: Tensor, height: int, width: int) -> Tensor:
    """Return bool [..., height, width]: the cells of each box [..., 4] and one around."""
    x_min, y_min, x_max, y_max = to_cells(boxes, (height, width), padding=1)[..., None].unbind(-2)
    column = torch.arange(width, device=boxes.device)
    row = torch.arange(height, device=boxes.device)
    columns = (column >= x_min) & (column < x_max)
    rows = (row >= y_min) & (row < y_max)
    return rows.unsqueeze(-1) & columns.unsqueeze(-2)


def mask_iou(a: Tensor, b: Tensor) -> Tensor:
    """Return the IoU [..., A, B] of soft masks [..., A, H, W] and [..., B, H, W], at one half."""
    first = (a > BINARY_THRESHOLD).flatten(-2).float()
    second = (b > BINARY_THRESHOLD).flatten(-2).float()
    intersection = first @ second.mT
    union = first.sum(-1).unsqueeze(-1) + second.sum(-1).unsqueeze(-2) - intersection
    return (intersection / union).masked_fill(union <= 0, 0)


def visible_part(masks: Tensor, geometry: Geometry) -> Tensor:
    """Return the part [..., h, w] of soft masks [..., H, W] that shows the image, not padding."""
    height, width = masks.shape[-2:]
    return masks[..., :int(geometry.height * height), :int(geometry.width * width)]


def image_masks(soft: Tensor, height: int, width: int) -> list[RegionMask]:
    """
    Scale soft masks [N, h, w] to an image of this size, bilinearly, and take them at one half.

    On a CPU, each where it is; on a device, all of them there, and their bits are copied.
    """
    if soft.device.type == 'cpu':
        return [region_mask(mask, height, width) for mask in soft.numpy()]
    return whole_masks(soft, height, width)


def region_mask(soft: npt.NDArray[np.float32], height: int, width: int) -> RegionMask:
    """
    Return one of image_masks(), of [h, w].

    Only the surroundings of the mask are computed; the result equals scaling the whole of it.
    """
    rows = _span(soft.max(1, initial=0) > 0, height)
    columns = _span(soft.max(0, initial=0) > 0, width)
    if rows is None or columns is None:
        return RegionMask.empty()
    pixels = _scaled(torch.from_numpy(soft), rows, columns, height, width)
    return _moved(RegionMask.from_full(pixels.numpy()), rows.start, columns.start)


def whole_masks(soft: Tensor, height: int, width: int) -> list[RegionMask]:
    """Return image_masks() of soft masks on any device; the host reads eight pixels a byte."""
    pixels = _scaled(soft, range(height), range(width), height, width)
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


def _span(used: npt.NDArray[np.bool_], size: int) -> range | None:
    # The pixels of an axis of `size` that cells marked used can reach.
    cells = np.flatnonzero(used)
    if cells.size == 0:
        return None
    scale = size / used.size
    start = int((cells[0] - 0.5) * scale)
    stop = int(np.ceil((cells[-1] + 1.5) * scale))
    return range(max(start, 0), min(stop, size))


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
