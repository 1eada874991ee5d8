# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Boxes, priors and their coding (specification, section 7).

A box is (x_min, y_min, x_max, y_max), a prior (center x, center y, width, height), both as
fractions of the padded network input.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

# Factors on the deltas of a center and of a size.
RELEASED_VARIANCES = (0.1, 0.2)


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # what is kept must serve training as well
def priors(
    level_sizes: tuple[tuple[int, int], ...],
    shapes: tuple[tuple[float, float], ...],
    device: torch.device,
) -> Tensor:
    """
    Return the priors [anchors, 4] of all levels, in the order (level, y, x, shape).

    level_sizes: (height, width) of the levels [cells]; shapes: (height, width) [cells].
    """
    levels = []
    for height, width in level_sizes:
        y = (torch.arange(height, device=device) + 0.5) / height
        x = (torch.arange(width, device=device) + 0.5) / width
        center_y, center_x = torch.meshgrid(y, x, indexing='ij')
        center = torch.stack((center_x, center_y), -1).unsqueeze(2)
        size = torch.tensor([(w / width, h / height) for h, w in shapes]).to(device)
        center, size = torch.broadcast_tensors(center, size)
        levels.append(torch.cat((center, size), -1).reshape(-1, 4))
    return torch.cat(levels)


def decode(
    deltas: Tensor, reference: Tensor, variances: tuple[float, float] = RELEASED_VARIANCES
) -> Tensor:
    """Apply deltas [..., 4] to priors [..., 4]; return boxes [..., 4], not clipped."""
    center = reference[..., :2] + variances[0] * deltas[..., :2] * reference[..., 2:]
    size = reference[..., 2:] * torch.exp(variances[1] * deltas[..., 2:])
    top_left = center - size / 2
    return torch.cat((top_left, top_left + size), -1)


def encode(
    boxes: Tensor, reference: Tensor, variances: tuple[float, float] = RELEASED_VARIANCES
) -> Tensor:
    """Return the deltas [..., 4] that decode() turns into these boxes [..., 4]."""
    center = (boxes[..., :2] + boxes[..., 2:]) / 2 - reference[..., :2]
    size = boxes[..., 2:] - boxes[..., :2]
    return torch.cat(
        (
            center / (variances[0] * reference[..., 2:]),
            torch.log(size / reference[..., 2:]) / variances[1],
        ),
        -1,
    )


def center_size(boxes: Tensor) -> Tensor:
    """Return boxes [..., 4] in the form of priors [..., 4]."""
    return torch.cat(
        ((boxes[..., 2:] + boxes[..., :2]) / 2, boxes[..., 2:] - boxes[..., :2]), -1
    )


def corners(boxes: Tensor) -> Tensor:
    """Return the corners [..., 4] of boxes [..., 4] given by centre and size."""
    center, size = boxes.split(2, dim=-1)
    return torch.cat((center - size / 2, center + size / 2), -1)


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """Return the IoU [..., A, B] of boxes [..., A, 4] and [..., B, 4], also outside the image."""
    top_left = torch.maximum(a[..., :, None, :2], b[..., None, :, :2])
    bottom_right = torch.minimum(a[..., :, None, 2:], b[..., None, :, 2:])
    intersection = (bottom_right - top_left).clamp(min=0).prod(-1)
    area_a = (a[..., 2:] - a[..., :2]).prod(-1)
    area_b = (b[..., 2:] - b[..., :2]).prod(-1)
    return intersection / (area_a[..., :, None] + area_b[..., None, :] - intersection)


def to_cells(boxes: Tensor, size: Sequence[int], padding: float = 0.0) -> Tensor:
    """
    Scale boxes [..., 4] to a map of size (height, width), ordered, and clamped on one side each.

    The lower edges are clamped at 0 only and the upper ones at the size only, as in the released
    code: a box wholly outside comes out inverted.
    """
    height, width = size
    # Numbers, and no tensor made of them: that would be a copy from the host at every call.
    x, y = boxes[..., 0::2] * width, boxes[..., 1::2] * height
    low = torch.stack((x.amin(-1), y.amin(-1)), -1) - padding
    right, bottom = x.amax(-1) + padding, y.amax(-1) + padding
    high = torch.stack((right.clamp(max=width), bottom.clamp(max=height)), -1)
    return torch.cat((low.clamp(min=0), high), -1)
