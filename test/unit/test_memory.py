# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Freed memory is kept, as page faults show, and given back when asked to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Three blocks of 15 MiB at a time, as for images; prints page faults a round, and what stays.
SCRIPT = """
import resource
import numpy as np
import psutil
from stmask_ros.memory import give_back_freed_memory, keep_freed_memory

def fill():
    for block in [np.ones(15 * 2**20, np.uint8) for _ in range(3)]:
        del block

{call}
fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    fill()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 10)
before = psutil.Process().memory_info().rss
give_back_freed_memory()
print((before - psutil.Process().memory_info().rss) // 2**20)
"""


def measure(call: str, **variables: str) -> tuple[int, int]:
    """Return page faults of a round, and the MiB that were given back at the end."""
    unset = ('GLIBC_TUNABLES', 'MALLOC_TRIM_THRESHOLD_', 'MALLOC_MMAP_THRESHOLD_')
    environment = {key: value for key, value in os.environ.items() if key not in unset}
    result = subprocess.run(
        [sys.executable, '-c', SCRIPT.format(call=call)], capture_output=True, text=True,
        check=True, cwd=ROOT, env=environment | {
            'PYTHONPATH': str(ROOT), 'NUMPY_MADVISE_HUGEPAGE': '0'} | variables,
    )
    faults, given_back = map(int, result.stdout.split())
    return faults, given_back


@pytest.mark.skipif(sys.platform != 'linux', reason='the settings are those of glibc')
def test_blocks_are_used_again_and_given_back_when_asked() -> None:
    usual, _ = measure('')
    kept, given_back = measure('assert keep_freed_memory()')
    assert usual > 3000
    assert kept < 100
    assert given_back >= 40


def test_a_users_own_settings_win() -> None:
    faults, _ = measure('assert not keep_freed_memory()', MALLOC_TRIM_THRESHOLD_='131072')
    assert faults > 3000
