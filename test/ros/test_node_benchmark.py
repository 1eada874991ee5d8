# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The benchmark of the node runs, and its figures add up."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_cost_of_the_node_is_measured(tmp_path: Path) -> None:
    subprocess.run([
        sys.executable, '-m', 'benchmark.node', '--sizes', '64x48', '--transports', 'compressed',
        '--cameras', '2', '--rate', '20', '--seconds', '2', '--output', str(tmp_path),
    ], check=True, cwd=ROOT, timeout=300, stdout=subprocess.DEVNULL)
    report = json.loads((tmp_path / 'node.json').read_text())
    (row,), (wish,) = report['rows'], report['wishes']
    assert wish['region'] > wish['everywhere'] > 0
    assert min(wish['class_image'], wish['confidence_image'], wish['segment']) > 0
    assert (row['width'], row['height'], row['cameras']) == (64, 48, 2)
    assert row['answered'] > 0
    assert row['node'] > row['reading'] + row['decoding'] > 0
