"""Soft masks from prototypes, and their pixels in the image (specification, section 9)."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stmask_ros.masks import RegionMask
from stmask_ros.network.boxes import to_cells
from stmask_ros.tracking.preprocess import Geometry

BINARY_THRESHOLD = 0.5


def assemble(
    prototypes: Tensor, coefficients: Tensor, boxes: Tensor,
    activation: Literal['tanh', 'none'] = 'tanh',
) -> Tensor:
    """
    Combine prototypes into soft masks, and crop each to its box and one cell around.

    prototypes: [H, W, P]; coefficients: [N, P] before their activation; boxes: [N, 4] fractions
    of the padded input. Returns [N, H, W] in [0, 1] (paper, equation 9).
    """
    height, width, count = prototypes.shape
    if activation == 'tanh':
        coefficients = coefficients.tanh()
    masks = (coefficients @ prototypes.view(-1, count).t()).sigmoid()
    return masks.view(-1, height, width) * crop_window(boxes, height, width)


def crop_window(boxes: Tensor, height: int, width: int) -> Tensor:
    """Return bool [N, height, width]: the cells of each box [N, 4] and one around."""
    x_min, y_min, x_max, y_max = to_cells(boxes, (height, width), padding=1)[..., None].unbind(1)
    column = torch.arange(width, device=boxes.device)
    row = torch.arange(height, device=boxes.device)
    columns = (column >= x_min) & (column < x_max)
    rows = (row >= y_min) & (row < y_max)
    return rows.unsqueeze(2) & columns.unsqueeze(1)


def mask_iou(a: Tensor, b: Tensor) -> Tensor:
    """Return the IoU [A, B] of soft masks [A, H, W] and [B, H, W], taken at one half."""
    first = (a > BINARY_THRESHOLD).flatten(1).float()
    second = (b > BINARY_THRESHOLD).flatten(1).float()
    intersection = first @ second.t()
    union = first.sum(1, keepdim=True) + second.sum(1) - intersection
    return torch.where(union > 0, intersection / union, 0.0)


def visible_part(masks: Tensor, geometry: Geometry) -> Tensor:
    """Return the part [N, h, w] of soft masks [N, H, W] that shows the image, not the padding."""
    height, width = masks.shape[1:]
    return masks[:, :int(geometry.height * height), :int(geometry.width * width)]


def region_mask(soft: npt.NDArray[np.float32], height: int, width: int) -> RegionMask:
    """
    Scale a soft mask [h, w] to an image of this size, bilinearly, and take it at one half.

    Only the surroundings of the mask are computed; the result equals scaling the whole of it.
    """
    rows = _span(soft.max(1, initial=0) > 0, height)
    columns = _span(soft.max(0, initial=0) > 0, width)
    if rows is None or columns is None:
        return RegionMask.empty()
    above, below, y_fraction = _bilinear(rows, soft.shape[0], height)
    left, right, x_fraction = _bilinear(columns, soft.shape[1], width)
    upper, lower = soft[above], soft[below]
    upper = upper[:, left] * (1 - x_fraction) + upper[:, right] * x_fraction
    lower = lower[:, left] * (1 - x_fraction) + lower[:, right] * x_fraction
    pixels = upper * (1 - y_fraction[:, None]) + lower * y_fraction[:, None]
    region = RegionMask.from_full(pixels > BINARY_THRESHOLD)
    if region.area == 0:
        return region
    return RegionMask(
        region.x_offset + columns.start, region.y_offset + rows.start, region.pixels
    )


def _span(used: npt.NDArray[np.bool_], size: int) -> range | None:
    # The pixels of an axis of `size` that cells marked used can reach.
    cells = np.flatnonzero(used)
    if cells.size == 0:
        return None
    scale = size / used.size
    start = int((cells[0] - 0.5) * scale)
    stop = int(np.ceil((cells[-1] + 1.5) * scale))
    return range(max(start, 0), min(stop, size))


def _bilinear(
    pixels: range, cells: int, size: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    # The two cells on either side of each pixel's center, and how far it is towards the second.
    center = np.arange(pixels.start, pixels.stop, dtype=np.float32) + np.float32(0.5)
    position = np.maximum(center * np.float32(cells / size) - np.float32(0.5), 0)
    first = position.astype(np.int64)
    second = np.minimum(first + 1, cells - 1)
    return first, second, (position - first).astype(np.float32)
