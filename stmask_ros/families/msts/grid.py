# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The tokens of a frame: four levels of cells, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from stmask_ros.families.msts.position import (
    level_valid,
    position_code,
    token_references,
    valid_ratios,
)

Size = tuple[int, int]

# Of the four levels [pixel].
STRIDES = (8, 16, 32, 64)
FINEST_STRIDE = STRIDES[0]


def level_sizes(size: Size) -> tuple[Size, ...]:
    """Return height and width of the four levels of an image of this size [pixel]."""
    return tuple((-(-size[0] // stride), -(-size[1] // stride)) for stride in STRIDES)


@dataclass(frozen=True)
class Grid:
    """
    Where the S tokens of N frames are.

    sizes: height and width of the levels. position: their codes, [N, S, channels]. ratios: which
    part of each level the image fills, (width, height), [N, levels, 2]. references: see
    token_references(), [N, S, levels, 2]. padding: bool [N, S], tokens outside of the image; None
    without any. extent: width and height of the image [pixel], [N, 2].
    """

    sizes: tuple[Size, ...]
    position: Tensor
    ratios: Tensor
    references: Tensor
    padding: Tensor | None
    extent: Tensor

    @classmethod
    def of(cls, valid: Tensor, channels: int) -> Grid:
        """Return the grid of frames padded at the right and below; valid: bool [N, H, W]."""
        sizes = level_sizes((valid.shape[1], valid.shape[2]))
        cells = [level_valid(valid, size) for size in sizes]
        ratios = valid_ratios(cells)
        padding = ~torch.cat([level.flatten(1) for level in cells], 1)
        codes = [position_code(level, channels).flatten(2).mT for level in cells]
        extent = torch.stack((valid[:, 0].sum(1), valid[:, :, 0].sum(1)), 1)
        return cls(
            sizes, torch.cat(codes, 1), ratios, token_references(sizes, ratios),
            padding if bool(padding.any()) else None, extent.float(),
        )

    @staticmethod
    @lru_cache(maxsize=8)
    @torch.inference_mode(False)  # what is kept must serve training as well
    def unpadded(size: Size, channels: int, device: torch.device) -> Grid:
        """Return the grid of one frame of this size [pixel], N = 1."""
        return Grid.of(torch.ones((1, *size), dtype=torch.bool, device=device), channels)

    def repeated(self, times: int) -> Grid:
        """Return each row so many times in a row, as for the frames of clips."""
        padding = None if self.padding is None else self.padding.repeat_interleave(times, 0)
        position, ratios, references, extent = (
            tensor.repeat_interleave(times, 0)
            for tensor in (self.position, self.ratios, self.references, self.extent)
        )
        return Grid(self.sizes, position, ratios, references, padding, extent)

    def levels(self, tokens: Tensor) -> list[Tensor]:
        """Return tokens [..., S, C] as maps [..., H, W, C], one a level."""
        parts = tokens.split([height * width for height, width in self.sizes], -2)
        return [part.unflatten(-2, size) for part, size in zip(parts, self.sizes, strict=True)]


def joined(levels: Sequence[Tensor]) -> Tensor:
    """Return maps [..., H, W, C] of all levels as tokens [..., S, C]."""
    return torch.cat([level.flatten(-3, -2) for level in levels], -2)
