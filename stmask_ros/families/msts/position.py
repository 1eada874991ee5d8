# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Where a token is: sine codes of rows, columns and frames, and reference points."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int]

TEMPERATURE = 10000.0
# Frames; the longest wave of the code of a frame.
LONGEST_WAVE = 64


def level_valid(valid: Tensor, size: Size) -> Tensor:
    """Return which cells of a level are of the image, bool [N, h, w]; valid: bool [N, H, W]."""
    return F.interpolate(valid[:, None].float(), size).squeeze(1) > 0


def position_code(valid: Tensor, channels: int) -> Tensor:
    """
    Return the code of every cell, float32 [N, channels, H, W] (specification, section 3).

    valid: bool [N, H, W], cells of the image; rows and columns count these. The row's half of the
    channels comes first.
    """
    halves = []
    for axis in (1, 2):
        count = valid.cumsum(axis, dtype=torch.float32)
        last = count.narrow(axis, valid.shape[axis] - 1, 1)
        halves.append(_waves((count - 0.5) / (last + 1e-6) * (2 * math.pi), channels // 2))
    return torch.cat(halves, -1).permute(0, 3, 1, 2)


def _waves(value: Tensor, channels: int) -> Tensor:
    # [..., channels]: sine and cosine take turns, two of each wavelength.
    index = torch.arange(channels, dtype=torch.float32, device=value.device)
    wavelength = TEMPERATURE ** (2 * torch.div(index, 2, rounding_mode='floor') / channels)
    angles = value.unsqueeze(-1) / wavelength
    return torch.stack((angles[..., 0::2].sin(), angles[..., 1::2].cos()), -1).flatten(-2)


def frame_code(frames: int, channels: int, device: torch.device) -> Tensor:
    """
    Return the code of the frames of a clip, float32 [frames, channels] (section 11, A1).

    It tells the frame's distance to the clip's middle, so that clips may have any length.
    """
    index = torch.arange(frames, dtype=torch.float32, device=device) - (frames - 1) / 2
    share = torch.arange(channels // 2, dtype=torch.float32, device=device) / (channels // 2)
    wavelength = 2 * (LONGEST_WAVE / 2) ** share
    angles = index[:, None] * (2 * math.pi / wavelength)
    return torch.stack((angles.sin(), angles.cos()), -1).flatten(-2)


def valid_ratios(cells: Sequence[Tensor]) -> Tensor:
    """
    Return which part of each level the image fills, as (width, height) [N, levels, 2].

    cells: bool [N, h, w] of each level, of the image; see level_valid().
    """
    return torch.stack([
        torch.stack((level[:, 0].float().mean(1), level[:, :, 0].float().mean(1)), 1)
        for level in cells
    ], 1)


def token_references(sizes: Sequence[Size], ratios: Tensor) -> Tensor:
    """
    Return the place of every token, seen from every level, as (x, y) [N, tokens, levels, 2].

    ratios: see valid_ratios(). Fractions of the padded level.
    """
    places = []
    for level, (height, width) in enumerate(sizes):
        rows = torch.arange(height, dtype=torch.float32, device=ratios.device) + 0.5
        columns = torch.arange(width, dtype=torch.float32, device=ratios.device) + 0.5
        ratio_x, ratio_y = ratios[:, level, :, None, None].unbind(1)
        x = columns[None, None, :] / (ratio_x * width)
        y = rows[None, :, None] / (ratio_y * height)
        places.append(torch.stack(torch.broadcast_tensors(x, y), -1).flatten(1, 2))
    return torch.cat(places, 1)[:, :, None] * ratios[:, None]
