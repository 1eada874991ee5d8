# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The families that there are: one line each."""

from __future__ import annotations

from stmask_ros.families.errors import ModelError
from stmask_ros.families.family import AnyFamily
from stmask_ros.families.msts.family import MSTS_FAMILY
from stmask_ros.families.sgnet.family import SGNET
from stmask_ros.families.sipmask.family import SIPMASK
from stmask_ros.families.stmask.family import STMASK

FAMILIES: tuple[AnyFamily, ...] = (
    STMASK,
    MSTS_FAMILY,
    SIPMASK,
    SGNET,
)


def family_named(name: str) -> AnyFamily:
    """Return a family by its name; ModelError that lists what there is."""
    for family in FAMILIES:
        if family.name == name:
            return family
    known = ', '.join(family.name for family in FAMILIES)
    raise ModelError(f'family {name!r} is unknown; known: {known}')
