# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Convolutions at chosen cells of a pyramid only: the same values as dense ones, less work."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Cells of zeros around each level, so that a kernel of side 5 never leaves its level.
MARGIN = 2


class Cells(NamedTuple):
    """
    All cells of all levels in one row, each level with a margin around it.

    width: int64 [M], of the level with its margin. inside: bool [M], False in the margin.
    anchor_cells: int64 [cells inside], in the order (level, y, x).
    """

    width: Tensor
    inside: Tensor
    anchor_cells: Tensor


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # what is kept must serve training as well
def cells_of(level_sizes: tuple[tuple[int, int], ...], device: torch.device) -> Cells:
    """Return the cells of levels of these (height, width)."""
    inside = [F.pad(torch.ones(size, dtype=torch.bool), (MARGIN,) * 4) for size in level_sizes]
    width = torch.cat([torch.full((i.numel(),), i.shape[1]) for i in inside])
    flat = torch.cat([i.flatten() for i in inside])
    return Cells(width.to(device), flat.to(device), flat.nonzero().squeeze(1).to(device))


class Table(NamedTuple):
    """
    Features of some cells; those of all others are zero.

    values: [1 + N, C], the first row all zeros. rows: int64 [M], of each of Cells.
    """

    values: Tensor
    rows: Tensor

    @classmethod
    def of(cls, levels: Sequence[Tensor], cells: Cells) -> Table:
        """Return the table of maps [C, H, W] of all levels."""
        features = torch.cat([level.permute(1, 2, 0).flatten(0, 1) for level in levels])
        return cls.at(features, cells.anchor_cells, cells)

    @classmethod
    def at(cls, features: Tensor, at: Tensor, cells: Cells) -> Table:
        """Return the table of features [N, C] at the cells [N]."""
        rows = torch.zeros_like(cells.width)
        rows[at] = torch.arange(1, len(at) + 1, device=at.device)
        return cls(torch.cat((features.new_zeros(1, features.shape[1]), features)), rows)


def window(at: Tensor, width: Tensor, kernel: tuple[int, int]) -> Tensor:
    """Return the cells [N, taps] under a kernel (height, width) at each of the cells [N]."""
    tap = torch.arange(kernel[0] * kernel[1], device=at.device)
    row = tap // kernel[1] - (kernel[0] - 1) // 2
    column = tap % kernel[1] - (kernel[1] - 1) // 2
    return at[:, None] + row * width[at, None] + column


def convolve(table: Table, at: Tensor, cells: Cells, layer: nn.Conv2d) -> Tensor:
    """Return the convolution [N, out] of the table at the cells [N], stride 1."""
    height, width = layer.weight.shape[2:]
    seen = table.values[table.rows[window(at, cells.width, (height, width))]].flatten(1)
    kernel = layer.weight.permute(2, 3, 1, 0).flatten(0, 2)
    assert layer.bias is not None
    return torch.addmm(layer.bias, seen, kernel)


def tower_at(tower: nn.Sequential, table: Table, at: Tensor, cells: Cells) -> Table:
    """
    Return a table of a tower's output that holds at the cells [N].

    tower: convolutions 3x3 of stride 1, each followed by a ReLU. table: its input.
    """
    layers = [layer for layer in tower if isinstance(layer, nn.Conv2d)]
    needed = [_unique(at, cells)]
    for _ in layers[1:]:
        needed.insert(0, _unique(window(needed[0], cells.width, (3, 3)), cells))
    for layer, here in zip(layers, needed, strict=True):
        table = Table.at(F.relu(convolve(table, here, cells, layer)), here, cells)
    return table


def _unique(at: Tensor, cells: Cells) -> Tensor:
    marked = torch.zeros_like(cells.inside)
    marked[at.flatten()] = True
    return (marked & cells.inside).nonzero().squeeze(1)
