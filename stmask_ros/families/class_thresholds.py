# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""How sure a network must be of each class; infinitely sure of one that nobody wants."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from stmask_ros.masks import BoolArray, Int64Array

# The lowest score of each class, in their order: in [0, 1], or infinity for a class that is off.
# Without any, all classes are wanted, and one threshold is for all.
ClassThresholds: TypeAlias = tuple[float, ...]

OFF = math.inf


def check_thresholds(thresholds: ClassThresholds) -> None:
    """Raise ValueError unless each is a score or OFF, and some class is on."""
    if wrong := [value for value in thresholds if not (0 <= value <= 1 or value == OFF)]:
        raise ValueError(f'class_thresholds: expected 0 to 1, or infinity, got {wrong[0]}')
    if thresholds and min(thresholds) == OFF:
        raise ValueError('class_thresholds: expected a class that is on, got infinity for all')


def are_off(thresholds: ClassThresholds, classes: Int64Array) -> BoolArray:
    """Return which of the classes, from 1, int64 [N], are off."""
    if not thresholds:
        return np.zeros(len(classes), bool)
    off: BoolArray = np.isinf(np.array((0.0, *thresholds)))[classes]
    return off


def lowest_scores(thresholds: ClassThresholds, classes: Tensor) -> Tensor:
    """Return the threshold of each class, from 1, int64 [...]; 0 where there is none (0)."""
    return _by_class(thresholds, classes.device)[classes]


def wanted_classes(thresholds: ClassThresholds, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the classes that are on, int64 [N], from 1, and their thresholds, float32 [N]."""
    by_class = _by_class(thresholds, device)[1:]
    classes = _wanted(thresholds, device)
    return classes, by_class[classes - 1]


# Kept, as a device that records its steps cannot take in values meanwhile.
@lru_cache(maxsize=32)
@torch.inference_mode(False)
def _by_class(thresholds: ClassThresholds, device: torch.device) -> Tensor:
    return torch.tensor((0.0, *thresholds)).to(device)


@lru_cache(maxsize=32)
@torch.inference_mode(False)
def _wanted(thresholds: ClassThresholds, device: torch.device) -> Tensor:
    numbers = [number for number, value in enumerate(thresholds, 1) if value != OFF]
    return torch.tensor(numbers).to(device)
