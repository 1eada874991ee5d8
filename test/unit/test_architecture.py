# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The drawing of the architecture page is the one that the imports give today."""

from __future__ import annotations

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / 'docs' / 'draw_architecture.py'


def test_the_drawing_is_of_today() -> None:
    spec = importlib.util.spec_from_file_location('draw_architecture', SCRIPT)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.DRAWING.read_text() == script.drawing(), 'run: python docs/draw_architecture.py'
