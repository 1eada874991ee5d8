# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Temporal attention of box queries: a query's boxes in all frames agree with each other.

The paper's module for the decoder, built after section 11, B of the specification. Fresh, it adds
nothing.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from stmask_ros.families.msts.config import MSTSConfig
from stmask_ros.families.msts.position import frame_code


class BoxAttention(nn.Module):
    """What the box queries of a slot add to each other."""

    def __init__(self, config: MSTSConfig) -> None:
        """Create the norm, which is inside of the branch, and the projections."""
        super().__init__()
        self.heads = config.heads
        self.norm = nn.LayerNorm(config.channels)
        self.qkv = nn.Linear(config.channels, 3 * config.channels, bias=False)
        self.proj = nn.Linear(config.channels, config.channels)
        self.initialise()

    def initialise(self) -> None:
        """Let the module add nothing."""
        nn.init.zeros_(self.proj.weight)
        nn.init.zeros_(self.proj.bias)

    def forward(self, boxes: Tensor) -> Tensor:
        """[B, T, Q, channels] -> the same; each query attends to its own T frames."""
        value = self.norm(boxes).transpose(1, 2)
        coded = value + frame_code(value.shape[2], value.shape[3], value.device).to(
            value.dtype)
        rows = self.qkv.weight.split([2 * value.shape[3], value.shape[3]])
        q, k = F.linear(coded, rows[0]).chunk(2, -1)
        heads = (each.unflatten(-1, (self.heads, -1)).transpose(2, 3)
                 for each in (q, k, F.linear(value, rows[1])))
        attended = F.scaled_dot_product_attention(*heads).transpose(2, 3).flatten(3)
        added: Tensor = self.proj(attended).transpose(1, 2)
        return added
