# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A small model with fresh weights of each family: test/models/NAME.yaml."""

from __future__ import annotations

from pathlib import Path

from toy_family import TOY

from stmask_ros.families import all as families

MODELS = Path(__file__).resolve().parents[1] / 'models'
PACKAGED = tuple(family.name for family in families.FAMILIES)
NAMES = (*PACKAGED, TOY.name)


def add_toy() -> None:
    """Add the line that a family of the package has in families/all.py."""
    if TOY not in families.FAMILIES:
        families.FAMILIES += (TOY,)


def model_of(family: str) -> Path:
    """Return the file of a family's small model."""
    return MODELS / f'{family}.yaml'
