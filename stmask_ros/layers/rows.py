# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Tables of rows, of one frame or of a batch.

A frame alone has tables as long as it needs, [N, ...]: on a CPU it costs nothing to read how many
rows are in use. The frames of a batch have tables of one length, [B, N, ...], whatever is in
them: a device then never waits for a number, and runs the same kernels every time.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

_Rows = TypeVar('_Rows', bound='Table')


def used(chosen: Tensor) -> Tensor:
    """
    Return which rows to go on with, int64, in their order.

    Of a frame's rows, bool [N]: those chosen. Of a batch's, bool [B, N]: all, those chosen first.
    """
    if chosen.dim() == 1:
        return chosen.nonzero().squeeze(1)
    return chosen.byte().sort(stable=True, dim=-1, descending=True).indices


def pick(values: Tensor, index: Tensor) -> Tensor:
    """Return the rows int64 [R] of [N, ...], or [B, R] of [B, N, ...]."""
    if index.dim() == 1:
        return values.index_select(0, index)
    start = torch.arange(len(values), device=index.device) * values.shape[1]
    flat = (index + start.unsqueeze(1)).flatten()
    return values.flatten(0, 1).index_select(0, flat).view(*index.shape, *values.shape[2:])


@dataclass(frozen=True)
class Table:
    """
    Tensors [N, ...] or [B, N, ...] whose rows belong together.

    The field that `mark` names is above 0 in a row that is in use, and 0 in others.
    """

    mark: ClassVar[str]

    @property
    def valid(self) -> Tensor:
        """Bool [N] or [B, N]: the rows in use."""
        mark: Tensor = getattr(self, self.mark)
        return mark > 0

    def __len__(self) -> int:
        """Return N."""
        return int(getattr(self, self.mark).shape[-1])

    def rows(self: _Rows, index: Tensor) -> _Rows:
        """Return the rows that a bool tensor [N] or an int64 tensor [R] or [B, R] chooses."""
        if index.dtype == torch.bool:
            index = index.nonzero().squeeze(1)
        return type(self)(*(pick(getattr(self, f.name), index) for f in fields(self)))

    def first(self: _Rows, count: int) -> _Rows:
        """Return the first rows."""
        index = (slice(None),) * (getattr(self, self.mark).dim() - 1) + (slice(count),)
        return type(self)(*(getattr(self, f.name)[index] for f in fields(self)))

    def only(self: _Rows, chosen: Tensor) -> _Rows:
        """Return the rows of a bool tensor [N] or [B, N] as used() does, the others marked 0."""
        index = used(chosen)
        table = self.rows(index)
        if chosen.dim() == 1:
            return table
        mark = getattr(table, self.mark) * chosen.gather(1, index)
        return replace(table, **{self.mark: mark})
