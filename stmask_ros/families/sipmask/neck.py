# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The feature pyramid: C3, C4, C5 in, P3 to P7 out (specification, section 4)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

STRIDES = (8, 16, 32, 64, 128)


class Neck(nn.Module):
    """Laterals, their sum from the top down, a 3x3 on each, and two strided levels on top."""

    def __init__(self, in_channels: Sequence[int], channels: int) -> None:
        """in_channels: of C3, C4, C5."""
        super().__init__()
        self.lateral_convs = nn.ModuleList(_Convolution(c, channels, 1) for c in in_channels)
        self.fpn_convs = nn.ModuleList(
            _Convolution(channels, channels, 3, stride) for stride in (1, 1, 1, 2, 2)
        )

    def forward(self, stages: Sequence[Tensor]) -> list[Tensor]:
        """C3 to C5 -> P3 to P7, [B, channels, H / stride, W / stride]."""
        laterals = [
            lateral(stage) for lateral, stage in zip(self.lateral_convs, stages, strict=True)
        ]
        for i in (1, 0):
            laterals[i] = laterals[i] + F.interpolate(laterals[i + 1], scale_factor=2)
        p3, p4, p5 = (conv(x) for conv, x in zip(self.fpn_convs, laterals, strict=False))
        p6 = self.fpn_convs[3](p5)
        return [p3, p4, p5, p6, self.fpn_convs[4](F.relu(p6))]


class _Convolution(nn.Module):
    # Named as in the released checkpoints.
    def __init__(self, in_channels: int, out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out, kernel, stride, kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out
