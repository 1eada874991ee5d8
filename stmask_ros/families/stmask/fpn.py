# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The feature pyramid: C3, C4, C5 in, P3 to P7 out (specification, section 4)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class FeaturePyramid(nn.Module):
    """
    Top-down sum of 1x1 laterals, a 3x3 on each level, and two strided levels on top.

    The layers are stored deepest first, and P6 and P7 have no ReLU: the released weights expect
    both.
    """

    def __init__(self, in_channels: Sequence[int], channels: int) -> None:
        """in_channels: of C3, C4, C5."""
        super().__init__()
        self.lat_layers = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in reversed(in_channels))
        self.pred_layers = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1) for _ in in_channels
        )
        self.downsample_layers = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, 2, 1) for _ in range(2)
        )

    def forward(self, stages: Sequence[Tensor]) -> list[Tensor]:
        """[B, in_channels, H / stride, W / stride] of C3 to C5 -> P3 to P7, [B, channels, ...]."""
        levels: list[Tensor] = []
        total: Tensor | None = None
        for stage, lateral, predict in zip(
            reversed(stages), self.lat_layers, self.pred_layers, strict=True
        ):
            here = lateral(stage)
            if total is not None:
                here = here + F.interpolate(
                    total, size=here.shape[-2:], mode='bilinear', align_corners=False
                )
            total = here
            levels.insert(0, F.relu(predict(total)))
        for downsample in self.downsample_layers:
            levels.append(downsample(levels[-1]))
        return levels
