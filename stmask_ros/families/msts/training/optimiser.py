# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Which parameters learn, and how fast (specification, section 9)."""

from __future__ import annotations

from stmask_ros.families.family import ParameterGroup
from stmask_ros.families.msts.network import MSTS

# Of the learning rate, for what decides where attention looks. The backbone's share is the run's.
SLOW = 0.1
_LOOKS = ('reference_points', 'sampling_offsets')


def parameter_groups(network: MSTS) -> list[ParameterGroup]:
    """Return all parameters but for the backbone's: those that learn slowly, and the rest."""
    named = [
        (name, parameter) for name, parameter in network.named_parameters()
        if not name.startswith('backbone.')
    ]
    return [
        ParameterGroup([p for name, p in named if not _looks(name)]),
        ParameterGroup([p for name, p in named if _looks(name)], rate=SLOW),
    ]


def _looks(name: str) -> bool:
    return any(part in name for part in _LOOKS)
