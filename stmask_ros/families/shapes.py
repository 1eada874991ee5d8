# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The shapes of a network's tensors, by which checkpoints are recognised."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

Shapes = dict[str, tuple[int, ...]]


def is_counter(key: str) -> bool:
    """Return whether a tensor only counts batches, which other trainings may leave out."""
    return key.endswith('.num_batches_tracked')


def shapes_of(tensors: Mapping[str, Tensor]) -> Shapes:
    """Return the shapes of all tensors but the counters."""
    return {key: tuple(value.shape) for key, value in tensors.items() if not is_counter(key)}
