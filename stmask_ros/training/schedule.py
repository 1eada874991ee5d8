# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The learning rate, as a function of the iteration."""

from __future__ import annotations

from collections.abc import Sequence

# Where the warm-up starts, and what each step multiplies by.
FIRST = 0.1
DECAY = 0.1


def rate_factor(iteration: int, steps: Sequence[int], warm_up: int) -> float:
    """Return the factor, 0 to 1, on the learning rate of an iteration, the first being 0."""
    factor = float(DECAY ** sum(iteration >= step for step in steps))
    if iteration < warm_up:
        factor *= FIRST + (1 - FIRST) * iteration / warm_up
    return factor
