# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Soft masks from prototypes, and their pixels in the image (specification, section 9)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from stmask_ros.families.stmask.preprocess import Extent
from stmask_ros.layers.boxes import to_cells
from stmask_ros.layers.soft_masks import (
    BINARY_THRESHOLD,
    image_masks,
    region_mask,
    whole_masks,
)

__all__ = [
    'BINARY_THRESHOLD', 'assemble', 'crop_window', 'image_masks', 'mask_iou', 'mask_logits',
    'region_mask', 'visible_part', 'whole_masks',
]

# What a shape's coefficient of one adds to the logits, and the least that a box measures.
SHAPE_STRENGTH = 4.0
SMALLEST_EXTENT = 1e-6


def assemble(
    prototypes: Tensor, coefficients: Tensor, boxes: Tensor,
    activation: Literal['tanh', 'none'] = 'tanh',
) -> Tensor:
    """
    Combine prototypes into soft masks, and crop each to its box and one cell around.

    prototypes: [..., H, W, P]; coefficients: [..., N, C] before their activation, see
    mask_logits; boxes: [..., N, 4] fractions of the padded input. Returns [..., N, H, W] in
    [0, 1] (equation 9).
    """
    masks = mask_logits(prototypes, coefficients, boxes, activation).sigmoid()
    height, width = prototypes.shape[-3:-1]
    return torch.where(crop_window(boxes, height, width), masks, 0)


def mask_logits(
    prototypes: Tensor, coefficients: Tensor, boxes: Tensor, activation: Literal['tanh', 'none']
) -> Tensor:
    """
    Return the logits [..., N, H, W] of masks.

    coefficients: [..., N, C], of the P prototypes [..., H, W, P], and after them of S * S shapes:
    products of cosines across the box [..., N, 4], so that a mask can follow its box where the
    prototypes say little.
    """
    height, width, count = prototypes.shape[-3:]
    if activation == 'tanh':
        coefficients = coefficients.tanh()
    logits: Tensor = coefficients[..., :count] @ prototypes.flatten(-3, -2).mT
    logits = logits.view(*logits.shape[:-1], height, width)
    if coefficients.shape[-1] == count:
        return logits
    order = math.isqrt(coefficients.shape[-1] - count)
    shapes = SHAPE_STRENGTH * coefficients[..., count:].unflatten(-1, (order, order))
    columns = _cosines(boxes[..., 0], boxes[..., 2], width, order)
    rows = _cosines(boxes[..., 1], boxes[..., 3], height, order)
    across: Tensor = rows.mT @ shapes @ columns
    return logits + across


def _cosines(low: Tensor, high: Tensor, cells: int, order: int) -> Tensor:
    # [..., N] edges of boxes -> [..., N, order, cells]: so many half waves from edge to edge.
    center = (torch.arange(cells, device=low.device) + 0.5) / cells
    extent = (high - low).clamp(min=SMALLEST_EXTENT).unsqueeze(-1)
    across = ((center - low.unsqueeze(-1)) / extent).clamp(0, 1)
    waves = torch.arange(order, device=low.device).unsqueeze(-1) * math.pi
    return (across.unsqueeze(-2) * waves).cos()


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


def visible_part(masks: Tensor, extent: Extent) -> Tensor:
    """Return the part [..., h, w] of soft masks [..., H, W] that shows the image, not padding."""
    height, width = masks.shape[-2:]
    return masks[..., :int(extent.height * height), :int(extent.width * width)]
