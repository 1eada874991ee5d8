# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What the fault tests share: the node's process, and the families' small models."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / 'ros'))
sys.path.append(str(Path(__file__).resolve().parents[1] / 'unit'))

from family_models import PACKAGED, model_of


@pytest.fixture(scope='module', params=PACKAGED)
def family(request: pytest.FixtureRequest) -> str:
    """Return the name of each family."""
    return str(request.param)


@pytest.fixture(scope='module')
def small_model(family: str) -> Path:
    """Return the file of a family's small model."""
    return model_of(family)
