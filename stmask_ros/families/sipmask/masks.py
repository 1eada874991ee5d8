# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Soft masks from sub-regions of boxes, and their pixels in the frame (section 7)."""

from __future__ import annotations

import torch
from torch import Tensor

from stmask_ros.layers.soft_masks import image_masks
from stmask_ros.masks import RegionMask

# Prototypes have this stride.
STRIDE = 2
# Added to a box's sides before they are divided, in double precision: the last pixel of a box
# stays in the last of its sub-regions.
MARGIN = 0.1
# Detections whose maps are computed at a time: all sub-regions are, over the whole input.
AT_A_TIME = 16


def assemble(prototypes: Tensor, coefficients: Tensor, boxes: Tensor, grids: Tensor) -> Tensor:
    """
    Combine prototypes into soft masks, each of its box's sub-regions, zero outside the box.

    prototypes: [P, H, W] or [B, P, H, W]. coefficients: [..., N, S * P], sub-region by sub-region,
    S the most of any. boxes: [..., N, 4] [pixel of the prototypes]. grids: int64 [..., N], how
    many sub-regions a box has along each side, its square at most S. Returns [..., N, H, W], in
    [0, 1]. The gradient goes to the map that a pixel shows.
    """
    parts = [
        _assemble(prototypes, *some)
        for some in zip(coefficients.split(AT_A_TIME, -2), boxes.split(AT_A_TIME, -2),
                        grids.split(AT_A_TIME, -1), strict=True)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts, -3)


def _assemble(prototypes: Tensor, coefficients: Tensor, boxes: Tensor, grids: Tensor) -> Tensor:
    count, height, width = prototypes.shape[-3:]
    each = coefficients.unflatten(-1, (-1, count))
    maps = each.flatten(-3, -2) @ prototypes.flatten(-2)
    maps = maps.unflatten(-2, each.shape[-3:-1])
    regions, inside = sub_regions(boxes, grids, height, width)
    shown = maps.gather(-2, regions.flatten(-2).unsqueeze(-2)).squeeze(-2)
    soft: Tensor = shown.sigmoid().unflatten(-1, (height, width)) * inside
    return soft


def sub_regions(
    boxes: Tensor, grids: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """
    Return the sub-region that each pixel is in, int64 [..., N, height, width], and bool, if any.

    boxes: [..., N, 4] [pixel]; grids: int64 [..., N]. Sub-regions go row by row; outside, 0.
    """
    x_min, y_min, x_max, y_max = boxes.unsqueeze(-1).unbind(-2)
    columns, in_columns = _parts(x_min, x_max, grids, width)
    rows, in_rows = _parts(y_min, y_max, grids, height)
    inside = in_rows.unsqueeze(-1) & in_columns.unsqueeze(-2)
    regions = rows.unsqueeze(-1) * grids[..., None, None] + columns.unsqueeze(-2)
    return regions * inside, inside


def _parts(low: Tensor, high: Tensor, grids: Tensor, size: int) -> tuple[Tensor, Tensor]:
    # Along one axis: the part of [low, high) that each pixel is in, and whether it is.
    pixel = torch.arange(size, device=low.device, dtype=low.dtype)
    inside = (pixel >= low) & (pixel < high)
    side = (((high - low).double() + MARGIN) / grids.unsqueeze(-1)).to(low.dtype)
    part = torch.where(inside, (pixel - low) / side, 0)
    return part.long(), inside


def binary_masks(
    soft: Tensor, scales: tuple[float, float], size: tuple[int, int]
) -> list[RegionMask]:
    """
    Return the pixels of soft masks [N, H, W] in a frame of this (height, width).

    scales: from the frame's height and width to those of the network's input.
    """
    whole = [int(side * (STRIDE / s)) for side, s in zip(soft.shape[1:], scales, strict=True)]
    return image_masks(soft, *size, (whole[0], whole[1]))
