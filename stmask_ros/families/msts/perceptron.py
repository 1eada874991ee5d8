# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Three linear layers with ReLU between them."""

from __future__ import annotations

from torch import Tensor, nn


class Perceptron(nn.Module):
    """What predicts boxes and the parameters of masks from a query."""

    def __init__(self, channels: int, out: int) -> None:
        """Create the layers; the hidden ones are as wide as what comes in."""
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Linear(channels, width) for width in (channels, channels, out)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[..., channels] -> [..., out]."""
        first, second, last = self.layers
        out: Tensor = last(second(first(x).relu()).relu())
        return out
