# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The encoder: tokens of all levels see each other (specification, section 5)."""

from __future__ import annotations

from torch import Tensor, nn

from stmask_ros.families.msts.config import MSTSConfig
from stmask_ros.families.msts.deformable_attention import DeformableAttention
from stmask_ros.families.msts.grid import Grid
from stmask_ros.families.msts.split_attention import SplitAttention


class EncoderLayer(nn.Module):
    """Attention within a frame, with the paper's module also across frames; feed-forward."""

    def __init__(self, config: MSTSConfig) -> None:
        """Create the layer."""
        super().__init__()
        self.self_attn = DeformableAttention(config)
        self.split_attn = SplitAttention(config) if config.encoder == 'msts' else None
        self.norm1 = nn.LayerNorm(config.channels)
        self.linear1 = nn.Linear(config.channels, config.feedforward)
        self.linear2 = nn.Linear(config.feedforward, config.channels)
        self.norm2 = nn.LayerNorm(config.channels)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: Tensor, grid: Grid) -> Tensor:
        """[B, T, S, channels] -> the same; grid: of the B clips."""
        frames = tokens.shape[1]
        of_frames = grid.repeated(frames)
        flat = tokens.flatten(0, 1)
        seen = self.self_attn(
            flat + of_frames.position, of_frames.references, flat, grid.sizes, of_frames.padding
        ).view_as(tokens)
        added = self.dropout(seen)
        if self.split_attn is not None:
            added = added + self.split_attn(tokens, grid)
        tokens = self.norm1(tokens + added)
        hidden = self.dropout(self.linear1(tokens).relu())
        out: Tensor = self.norm2(tokens + self.dropout(self.linear2(hidden)))
        return out


class Encoder(nn.Module):
    """The layers of the encoder."""

    def __init__(self, config: MSTSConfig) -> None:
        """Create them."""
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))

    def forward(self, tokens: Tensor, grid: Grid) -> Tensor:
        """
        Return the memory of clips, [B, T, S, channels].

        grid: of the clips, its positions with the codes of the levels.
        """
        for layer in self.layers:
            tokens = layer(tokens, grid)
        return tokens
