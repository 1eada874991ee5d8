# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Names in the order that people mean."""

from __future__ import annotations

import re


def natural_order(name: str) -> tuple[list[tuple[int, str]], str]:
    """Return what to sort names by: numbers by value, whatever zeros stand before them."""
    parts: list[str] = re.findall(r'[0-9]+|[^0-9]+', name)
    return [(int(part), '') if part[0].isdigit() else (-1, part) for part in parts], name
