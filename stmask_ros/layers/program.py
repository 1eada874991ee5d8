# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A part of a network as something other than PyTorch may run it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from torch import Tensor

# One tensor in, a module's tensors out, in its order, not overwritten by the next call. Calls of
# one program must not overlap.
Program: TypeAlias = Callable[[Tensor], Sequence[Tensor]]
