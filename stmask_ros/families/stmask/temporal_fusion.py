# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Temporal fusion: carry objects from the previous frame to this one (paper, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.layers.boxes import center_size, to_cells
from stmask_ros.layers.vision_operators import roi_align

ROI_SIZE = (7, 7)
LEGACY_ENLARGEMENT = 1.2


@dataclass(frozen=True)
class TemporalFeatures:
    """
    What temporal fusion needs to know of a frame; of one pyramid level, stride 16 as released.

    correlated: [B, channels, H, W], compared with the other frame's; of the pyramid, as released.
    concatenated: [B, channels, H, W], passed on; the head's upfeature, as released.
    """

    correlated: Tensor
    concatenated: Tensor

    def frames(self) -> list[TemporalFeatures]:
        """Return each frame of the batch by itself, [1, channels, H, W], copied."""
        return [
            TemporalFeatures(correlated.clone(), concatenated.clone())
            for correlated, concatenated in zip(
                self.correlated.split(1), self.concatenated.split(1), strict=True
            )
        ]

    @classmethod
    def none(
        cls, config: STMaskConfig, dtype: torch.dtype, device: torch.device
    ) -> TemporalFeatures:
        """Return zeros [1, channels, H, W], for a frame before which there was none."""
        height, width = (-(-size // 32) * (4 >> config.correlation_level)
                         for size in (config.input_height, config.input_width))
        zeros = torch.zeros(1, config.channels, height, width, dtype=dtype, device=device)
        return cls(zeros, zeros)

    @classmethod
    def stacked(cls, frames: Sequence[TemporalFeatures]) -> TemporalFeatures:
        """Return the features of several frames as one batch, copied."""
        return cls(
            torch.cat([f.correlated for f in frames]),
            torch.cat([f.concatenated for f in frames]),
        )


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # what is kept must serve training as well
def _displaced_cells(height: int, width: int, patch: int, device: torch.device) -> Tensor:
    # [patch * patch, height * width] cells of a map padded by patch // 2, row-major
    padded_width = width + 2 * (patch // 2)
    shift = torch.arange(patch, device=device)
    shifts = (shift[:, None] * padded_width + shift).view(-1, 1)
    cells = torch.arange(height, device=device)[:, None] * padded_width
    cells = (cells + torch.arange(width, device=device)).view(1, -1)
    return shifts + cells


def correlate(previous: Tensor, current: Tensor, patch: int) -> Tensor:
    """
    Correlate each cell of one map with a square around it in another.

    previous, current: [B, C, H, W]. Returns [B, patch * patch, H, W], displacements row by row;
    zero outside the map; divided by C; through a leaky ReLU of slope 0.1.
    """
    batch, channels, height, width = previous.shape
    reach = patch // 2
    # All pairs by one matrix product, of which a band is kept: faster than patch * patch passes.
    # Divided first: a half precision number would overflow.
    pairs = torch.bmm(current.flatten(2).transpose(1, 2), previous.flatten(2) / channels)
    around = (0, 0, reach, reach, reach, reach)
    padded = F.pad(pairs.view(batch, height, width, -1), around).flatten(1, 2)
    index = _displaced_cells(height, width, patch, previous.device)
    band = padded.gather(1, index.expand(batch, -1, -1))
    return F.leaky_relu(band, 0.1).view(batch, patch * patch, height, width)


def fuse(previous: TemporalFeatures, current: TemporalFeatures, patch: int) -> Tensor:
    """Return the joint features [B, patch * patch + 2 * channels, H, W] of two frames."""
    correlation = correlate(previous.correlated, current.correlated, patch)
    return F.relu(torch.cat((correlation, previous.concatenated, current.concatenated), 1))


def pool_regions(
    features: Tensor, boxes: Tensor, frames: Tensor, roi: Literal['fixed', 'legacy'] = 'fixed'
) -> Tensor:
    """
    Pool the features in each box.

    features: [B, C, H, W]; boxes: [N, 4] fractions of the padded input; frames: int64 [N], the
    row of features each box lies in; roi: see STMaskConfig.temporal_roi. Returns [N, C, 7, 7].
    """
    cells = to_cells(boxes, features.shape[-2:]) if roi == 'fixed' else _legacy_cells(boxes)
    # A box outside the map comes out inverted, and without an end if it is not finite: roi_align
    # would count samples for it. A box of no size pools to the same zeros at no cost.
    regular = (cells[:, 2:] > cells[:, :2]).all(1, keepdim=True)
    cells = cells.masked_fill(~regular, 0)
    rois = torch.cat((frames.to(cells.dtype).unsqueeze(1), cells), 1)
    # In single precision, in which the boxes are.
    return roi_align(features.float(), rois, ROI_SIZE).to(features.dtype)


def _legacy_cells(boxes: Tensor) -> Tensor:
    # Enlarged boxes whose fractions of the input were taken for cells, rows for columns.
    center, size = center_size(boxes).split(2, dim=1)
    half = (LEGACY_ENLARGEMENT * size).clamp(max=1) / 2
    return torch.cat(((center - half).flip(1), (center + half).flip(1)), 1)


class TemporalNet(nn.Module):
    """From an object's pooled joint features to the change of its box and coefficients."""

    def __init__(
        self, in_channels: int, channels: tuple[int, int, int], num_prototypes: int
    ) -> None:
        """channels: of the three convolutions."""
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels[0], 3, padding=1)
        self.conv2 = nn.Conv2d(channels[0], channels[1], 3, padding=1)
        self.conv3 = nn.Conv2d(channels[1], channels[2], 3, padding=1)
        self.fc = nn.Linear(channels[2], 4)
        self.fc_coeff = nn.Linear(channels[2], num_prototypes)

    def forward(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        """[N, in_channels, 7, 7] -> box deltas [N, 4], coefficient deltas [N, prototypes]."""
        x = F.relu(self.conv1(regions))
        x = F.relu(self.conv2(x))
        x = F.relu(self.conv3(x)).mean((2, 3))
        return self.fc(x), self.fc_coeff(x)
