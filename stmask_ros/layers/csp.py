# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A backbone of cross-stage partial blocks, and the pyramid that joins its last three stages."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmask_ros.layers.backbone import all_stages

# Of the leaky ReLU, below zero.
SLOPE = 0.1


class CspStage(nn.Module):
    """
    A 3x3 with the stride; pairs of 3x3s, joined again; and a 3x3 beside what they began from.

    Cross-stage partial connections (Wang et al., CVPRW 2020), of convolutions with a bias.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, pairs: int) -> None:
        """Create the stage; it returns 2 * channels."""
        super().__init__()
        half = channels // 2
        self.first = _conv(in_channels, channels, stride)
        self.pairs = nn.ModuleList(
            nn.ModuleList((_conv(channels, half), _conv(half, half))) for _ in range(pairs)
        )
        self.last = _conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, H, W] -> [B, 2 * channels, H / stride, W / stride]."""
        first = x = self.first(x)
        for pair in self.pairs:
            assert isinstance(pair, nn.ModuleList)
            one = pair[0](x)
            x = torch.cat((pair[1](one), one), 1)
        return torch.cat((self.last(x), first), 1)


class CspBackbone(nn.Module):
    """Twenty-five 3x3 convolutions with biases, norms folded in: of NanoDet-g."""

    # Of the last three stages.
    out_channels = (128, 256, 512)
    # Of the stage of stride 4.
    fine_channels = 64

    def __init__(self) -> None:
        """Create the stem and the stages of strides 4, 8, 16 and 32."""
        super().__init__()
        self.stem = _conv(3, 32, 2)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.layers = nn.ModuleList((
            CspStage(32, 32, 1, 1), CspStage(64, 64, 2, 2), CspStage(128, 128, 2, 2),
            CspStage(256, 256, 2, 3),
        ))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """[B, 3, H, W] -> stages of strides 4 to 32."""
        return all_stages(self.layers, self.pool(self.stem(x)))


class PathAggregation(nn.Module):
    """
    Three levels, each a 1x1 of its stage; sums from the top down, then from the bottom up.

    A path aggregation network (Liu et al., CVPR 2018) whose paths have no weights: bilinear.
    """

    def __init__(self, in_channels: Sequence[int], channels: int) -> None:
        """in_channels: of C3, C4, C5."""
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in in_channels)

    def forward(self, stages: Sequence[Tensor]) -> list[Tensor]:
        """[B, in_channels, H / stride, W / stride] of C3 to C5 -> P3 to P5, [B, channels, ...]."""
        levels = [lateral(c) for lateral, c in zip(self.laterals, stages, strict=True)]
        for i in (1, 0):
            levels[i] = levels[i] + _resized(levels[i + 1], levels[i])
        for i in (1, 2):
            levels[i] = levels[i] + _resized(levels[i - 1], levels[i])
        return levels


def _resized(x: Tensor, other: Tensor) -> Tensor:
    return F.interpolate(x, size=other.shape[-2:], mode='bilinear', align_corners=False)


def _conv(in_channels: int, out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out, 3, stride, 1), nn.LeakyReLU(SLOPE, inplace=True)
    )
