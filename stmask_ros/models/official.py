# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Which published checkpoint a file is named as."""

from __future__ import annotations

import re
from pathlib import Path

from stmask_ros.families import all as families
from stmask_ros.families.family import OfficialCheckpoint


def official_checkpoint(path: Path) -> OfficialCheckpoint | None:
    """Return the published checkpoint that a file is named as, or None. The file is not read."""
    stem = re.sub(r' ?\(\d+\)$', '', path.stem)  # as browsers name a second download
    published = (checkpoint for family in families.FAMILIES for checkpoint in family.official)
    return next((checkpoint for checkpoint in published if checkpoint.name == stem), None)
