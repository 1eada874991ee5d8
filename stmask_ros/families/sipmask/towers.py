# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What FCOS predicts at every cell, and the maps that masks and tracking need (section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmask_ros.families.sipmask.config import SipMaskConfig
from stmask_ros.families.sipmask.neck import STRIDES
from stmask_ros.layers.deformable import by_cell, deformable_convolution

OFFSET_GROUPS = 4


class TowerOutput(NamedTuple):
    """
    Maps of each level, P3 to P7, and dense predictions of all N cells in the order (level, y, x).

    class_towers, box_towers, aligned: [B, channels, h, w]; aligned: the class tower after feature
    alignment. offsets: [B, 72, h, w], of the taps, group by group, (dy, dx) [cells].
    track_towers: of P3 to P5 only. class_logits: [B, N, classes]. distances: [B, N, 4], to the
    left, top, right and bottom edge of the box, may be negative [pixel of the resized image].
    centerness: logits [B, N]. level_sizes: (height, width) of each level [cells].
    """

    class_towers: list[Tensor]
    box_towers: list[Tensor]
    offsets: list[Tensor]
    aligned: list[Tensor]
    track_towers: list[Tensor]
    class_logits: Tensor
    distances: Tensor
    centerness: Tensor
    level_sizes: tuple[tuple[int, int], ...]


class Towers(nn.Module):
    """The part of the head that SipMask and SG-Net share; one set of weights for all levels."""

    def __init__(self, config: SipMaskConfig) -> None:
        """Create the layers under the names of the released weights."""
        super().__init__()
        channels = config.channels
        self.cls_convs = _tower(config, config.class_units)
        self.reg_convs = _tower(config, config.box_units)
        self.track_convs = _tower(config, config.track_units)
        self.fcos_cls = nn.Conv2d(channels, config.num_classes, 3, padding=1)
        self.fcos_reg = nn.Conv2d(channels, 4, 3, padding=1)
        self.fcos_centerness = nn.Conv2d(channels, 1, 3, padding=1)
        self.scales = nn.ModuleList(_Scale() for _ in STRIDES)
        self.feat_align = FeatureAlignment(channels, config.norm_groups)

    def predict(self, pyramid: Sequence[Tensor]) -> TowerOutput:
        """P3 to P7, [B, channels, h, w] each -> all that the shared layers make of them."""
        class_towers = [self.cls_convs(level) for level in pyramid]
        box_towers = [self.reg_convs(level) for level in pyramid]
        raw = [
            scale(self.fcos_reg(tower))
            for scale, tower in zip(self.scales, box_towers, strict=True)
        ]
        offsets = [self.feat_align.conv_offset(boxes.detach()) for boxes in raw]
        aligned = [
            self.feat_align(tower, offset)
            for tower, offset in zip(class_towers, offsets, strict=True)
        ]
        distances = [boxes * stride for boxes, stride in zip(raw, STRIDES, strict=True)]
        return TowerOutput(
            class_towers, box_towers, offsets, aligned,
            [self.track_convs(level) for level in pyramid[:3]],
            by_cell([self.fcos_cls(level) for level in aligned]).float(),
            by_cell(distances).float(),
            by_cell([self.fcos_centerness(tower) for tower in box_towers]).float().squeeze(2),
            tuple((int(level.shape[2]), int(level.shape[3])) for level in pyramid),
        )


class FeatureAlignment(nn.Module):
    """A deformable 3x3 whose taps follow the predicted box, a group norm and a ReLU."""

    def __init__(self, channels: int, norm_groups: int) -> None:
        """Create the layers."""
        super().__init__()
        self.conv_offset = nn.Conv2d(4, OFFSET_GROUPS * 18, 1, bias=False)
        self.conv_adaption = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.GroupNorm(norm_groups, channels)

    def forward(self, x: Tensor, offset: Tensor) -> Tensor:
        """x: [B, channels, h, w]; offset: as conv_offset makes it of the boxes [cells]."""
        moved = deformable_convolution(
            x, offset, self.conv_adaption.weight, padding=(1, 1), groups=OFFSET_GROUPS
        )
        return F.relu(self.norm(moved))


def joined_levels(levels: Sequence[Tensor]) -> Tensor:
    """Return maps of P3 to P5, [B, C, h, w] each, as one of P3's size, [B, 3 * C, H, W]."""
    larger = [
        F.interpolate(level, scale_factor=2**i, mode='bilinear', align_corners=False)
        for i, level in enumerate(levels) if i > 0
    ]
    return torch.cat((levels[0], *larger), 1)


class _Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class _Unit(nn.Module):
    def __init__(self, channels: int, norm_groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.gn = nn.GroupNorm(norm_groups, channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.gn(self.conv(x)))


def _tower(config: SipMaskConfig, units: int) -> nn.Sequential:
    return nn.Sequential(*(_Unit(config.channels, config.norm_groups) for _ in range(units)))
