# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Names of cameras, which become parts of topics' names."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NAME = re.compile(r'[A-Za-z][A-Za-z0-9_]*')


def problems_of(names: Sequence[str]) -> list[str]:
    """Return which names cannot be part of a topic's name, or come twice, one line each."""
    problems = [
        f"cameras: '{name}' is no name: use letters, digits and underscores, a letter first"
        for name in names if not _NAME.fullmatch(name)
    ]
    if len(set(names)) < len(names):
        problems.append(f'cameras: a name comes twice in {", ".join(names)}')
    return problems
