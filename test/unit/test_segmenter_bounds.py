# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The track table over thousands of frames of objects that come and go."""

from __future__ import annotations

import statistics
import time
from dataclasses import fields

import psutil
import pytest
import torch

from benchmark.turnover import Turnover
from stmask_ros.families.state import StreamState
from stmask_ros.families.stmask.tracks import TrackerConfig

STEPS = 4000


def table_bytes(state: StreamState) -> int:
    """Return the memory that a state's tracks hold, storage included."""
    tracks = state.memory.tracks
    return sum(getattr(tracks, f.name).untyped_storage().nbytes() for f in fields(tracks))


@pytest.mark.parametrize('capacity', [64, 12])
def test_turnover_leaves_memory_time_and_ids_in_order(capacity: int) -> None:
    turnover = Turnover(TrackerConfig(capacity=capacity))
    process, times, sizes, resident = psutil.Process(), [], [], []
    last_id = 0
    for _ in range(STEPS):
        start = time.process_time()
        turnover.step()
        times.append(time.process_time() - start)
        sizes.append(table_bytes(turnover.state))
        resident.append(process.memory_info().rss)
        ids = turnover.state.memory.tracks.ids
        assert len(ids) <= capacity
        assert torch.equal(ids, ids.unique())
        assert turnover.state.next_id > int(ids.max())
        assert turnover.state.next_id >= last_id
        last_id = turnover.state.next_id
    assert last_id > STEPS / 4
    third = STEPS // 3
    assert max(sizes[-third:]) <= 1.5 * max(sizes[:third])
    assert resident[-1] - resident[third] < 20e6
    assert statistics.median(times[-third:]) < 2 * statistics.median(times[:third])
