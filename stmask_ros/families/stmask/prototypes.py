# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Prototype networks: prototypes of stride 4 out (specification, section 5)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

# Of the joined network, between its layers.
JOINED_CHANNELS = 64


class PrototypeNet(nn.Sequential):
    """Convolutions, a bilinear doubling, and a 1x1 to the prototypes, which are never negative."""

    def __init__(self, channels: int, num_prototypes: int) -> None:
        """Create the layers at the indices that the released weights name."""
        def conv() -> nn.Conv2d:
            return nn.Conv2d(channels, channels, 3, padding=1)

        super().__init__(
            conv(), nn.ReLU(inplace=True),
            conv(), nn.ReLU(inplace=True),
            conv(), nn.ReLU(inplace=True),
            nn.Upsample(scale_factor=2, mode='bilinear', align_corners=False),
            nn.Identity(),  # a ReLU in the released code, of values that are not negative
            conv(), nn.ReLU(inplace=True),
            nn.Conv2d(channels, num_prototypes, 1), nn.ReLU(inplace=True),
        )

    def forward(self, p3: Tensor) -> Tensor:
        """[B, channels, H / 8, W / 8] -> [B, H / 4, W / 4, num_prototypes]."""
        for layer in self:
            p3 = layer(p3)
        return p3.permute(0, 2, 3, 1).contiguous()


class JoinedPrototypeNet(nn.Module):
    """Of P3, which knows what is where, and of a stage of stride 4, which knows its outlines."""

    def __init__(self, fine_channels: int, channels: int, num_prototypes: int) -> None:
        """fine_channels: of the stage of stride 4. channels: of P3."""
        super().__init__()
        width = JOINED_CHANNELS
        self.deep = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1),
        )
        self.fine = nn.Conv2d(fine_channels, width, 1)
        self.joined = nn.Sequential(
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(width, num_prototypes, 1), nn.ReLU(inplace=True),
        )

    def forward(self, fine: Tensor, p3: Tensor) -> Tensor:
        """[B, C, H / 4, W / 4], [B, C, H / 8, W / 8] -> [B, H / 4, W / 4, num_prototypes]."""
        fine = self.fine(fine)
        deep = F.interpolate(
            self.deep(p3), size=fine.shape[-2:], mode='bilinear', align_corners=False
        )
        prototypes: Tensor = self.joined(fine + deep)
        return prototypes.permute(0, 2, 3, 1).contiguous()
