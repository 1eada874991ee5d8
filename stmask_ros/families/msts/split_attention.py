# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Multi-scale spatio-temporal split attention: across frames at each scale, then between scales.

The paper's module for the encoder, built after section 11, A of the specification, where it is
told which parts are the paper's and which are ours. Fresh, it adds nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmask_ros.families.msts.config import MSTSConfig
from stmask_ros.families.msts.grid import Grid, joined
from stmask_ros.families.msts.position import frame_code

# Cells on a side of a window; between scales, a coarse cell covers one.
SIDE = 2


class GroupAttention(nn.Module):
    """Attention inside of many small groups of tokens, with 8 heads."""

    def __init__(self, config: MSTSConfig) -> None:
        """Create the projections; those of query, key and value are one, without bias."""
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.channels, 3 * config.channels, bias=False)
        self.proj = nn.Linear(config.channels, config.channels)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, masked: Tensor | None = None
    ) -> Tensor:
        """
        Return what the queries attend to, [groups, Q, channels].

        query: [groups, Q, channels]; key, value: [groups, K, channels], query and key with their
        codes. masked: bool [groups, K], keys that nobody attends to; where all of a group's are,
        nothing is read.
        """
        weights = self.qkv.weight.chunk(3)
        q, k, v = (
            F.linear(x, weight).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for x, weight in zip((query, key, value), weights, strict=True)
        )
        bias = None
        if masked is not None:
            # Finite, so that a group without keys is not NaN.
            bias = q.new_zeros(masked.shape).masked_fill(masked, torch.finfo(q.dtype).min / 2)
            bias = bias[:, None, None]
        attended = F.scaled_dot_product_attention(q, k, v, bias).transpose(1, 2).flatten(2)
        if masked is not None:
            attended = attended.masked_fill(masked.all(1)[:, None, None], 0)
        projected: Tensor = self.proj(attended)
        return projected


class SplitAttention(nn.Module):
    """What an encoder layer adds to its tokens from other frames and scales."""

    def __init__(self, config: MSTSConfig) -> None:
        """Create the parts; the scales share them."""
        super().__init__()
        self.within = GroupAttention(config)
        self.to_coarse = GroupAttention(config)
        self.to_fine = GroupAttention(config)
        self.norm_within = nn.LayerNorm(config.channels)
        self.norm_coarse = nn.LayerNorm(config.channels)
        self.norm_fine = nn.LayerNorm(config.channels)
        self.out = nn.Linear(config.channels, config.channels)
        self.initialise()

    def initialise(self) -> None:
        """Let the module add nothing."""
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, tokens: Tensor, grid: Grid) -> Tensor:
        """
        Return [B, T, S, channels] of the same, for clips of T frames.

        grid: of the B clips, position with the codes of the levels.
        """
        frames, channels = tokens.shape[1], tokens.shape[-1]
        times = frame_code(frames, channels, tokens.device).to(tokens.dtype)
        codes = grid.levels(grid.position[:, None] + times[:, None])
        levels = grid.levels(tokens)
        used = grid.levels(self._used(tokens, grid))
        levels = [
            self.norm_within(level + self._across_frames(level, code, use))
            for level, code, use in zip(levels, codes, used, strict=True)
        ]
        for s in range(len(levels) - 1):
            read = self._coarse_from_fine(levels[s:s + 2], codes[s:s + 2], used[s])
            levels[s + 1] = self.norm_coarse(levels[s + 1] + read)
        for s in reversed(range(len(levels) - 1)):
            read = self._fine_from_coarse(levels[s:s + 2], codes[s:s + 2], used[s + 1])
            levels[s] = self.norm_fine(levels[s] + read)
        added: Tensor = self.out(joined(levels))
        return added if grid.padding is None else added * used_column(grid.padding)

    def _used(self, tokens: Tensor, grid: Grid) -> Tensor:
        # 1 for tokens of the image, 0 for padding, [B, T, S, 1].
        if grid.padding is None:
            return tokens.new_ones((*tokens.shape[:3], 1))
        return used_column(grid.padding).expand(-1, tokens.shape[1], -1, -1).to(tokens.dtype)

    def _across_frames(self, level: Tensor, code: Tensor, used: Tensor) -> Tensor:
        value = windows(level)
        coded = windows(level + code)
        attended = self.within(coded, coded, value, windows(used).squeeze(-1) == 0)
        return unfolded(attended, level, SIDE)

    def _coarse_from_fine(
        self, levels: Sequence[Tensor], codes: Sequence[Tensor], used: Tensor
    ) -> Tensor:
        fine, coarse = levels
        attended = self.to_coarse(
            windows(coarse + codes[1], 1), windows(fine + codes[0]), windows(fine),
            windows(used).squeeze(-1) == 0,
        )
        return unfolded(attended, coarse, 1)

    def _fine_from_coarse(
        self, levels: Sequence[Tensor], codes: Sequence[Tensor], used: Tensor
    ) -> Tensor:
        fine, coarse = levels
        attended = self.to_fine(
            windows(fine + codes[0]), crosses(coarse + codes[1]), crosses(coarse),
            crosses(used).squeeze(-1) == 0,
        )
        return unfolded(attended, fine, SIDE)


def used_column(padding: Tensor) -> Tensor:
    """Return bool [B, 1, S, 1] of padding [B, S]: which tokens are of the image."""
    return (~padding)[:, None, :, None]


def windows(level: Tensor, side: int = SIDE) -> Tensor:
    """
    Return maps [B, T, H, W, C] as groups of side x side cells of all frames.

    [B * rows * columns, T * side * side, C]; zeros below and right where a window is cut off.
    """
    height, width = level.shape[2:4]
    level = F.pad(level, (0, 0, 0, -width % side, 0, -height % side))
    parts: Tensor = level.unflatten(3, (-1, side)).unflatten(2, (-1, side))
    return parts.permute(0, 2, 4, 1, 3, 5, 6).flatten(3, 5).flatten(0, 2)


def unfolded(groups: Tensor, level: Tensor, side: int) -> Tensor:
    """Return windows() as maps of the shape of level [B, T, H, W, C]."""
    clips, frames, height, width = level.shape[:4]
    rows, columns = -(-height // side), -(-width // side)
    parts = groups.view(clips, rows, columns, frames, side, side, -1)
    whole = parts.permute(0, 3, 1, 4, 2, 5, 6).flatten(4, 5).flatten(2, 3)
    return whole[:, :, :height, :width]


def crosses(level: Tensor) -> Tensor:
    """Return every cell of [B, T, H, W, C] with its 4 neighbours, [B * H * W, T * 5, C]."""
    height, width = level.shape[2:4]
    padded = F.pad(level, (0, 0, 1, 1, 1, 1))
    cells = torch.stack([
        padded[:, :, y:y + height, x:x + width]
        for y, x in ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))
    ], 4)
    return cells.permute(0, 2, 3, 1, 4, 5).flatten(3, 4).flatten(0, 2)
