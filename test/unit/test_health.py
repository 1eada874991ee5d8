# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What the node measures of its images: the numbers on /diagnostics."""

from __future__ import annotations

import random

import pytest

from stmask_ros.node.health import HealthMonitor, Percentiles

MILLISECOND = 1_000_000


def test_percentiles_are_measured_latencies() -> None:
    health = HealthMonitor()
    latencies = list(range(101))
    random.Random(0).shuffle(latencies)
    for latency in latencies:
        health.processed(latency * MILLISECOND, None, tracks=2, epoch=1)
        health.took('step', 2 * latency * MILLISECOND)
    snapshot = health.snapshot()
    assert snapshot.from_receipt is not None
    assert _values(snapshot.from_receipt) == pytest.approx((50, 95, 99))
    assert _values(snapshot.stages['step']) == pytest.approx((100, 190, 198))
    assert snapshot.from_stamp is None


def test_a_single_latency_is_all_percentiles() -> None:
    health = HealthMonitor()
    health.processed(7 * MILLISECOND, 9 * MILLISECOND, tracks=0, epoch=1)
    snapshot = health.snapshot()
    assert snapshot.from_receipt is not None
    assert snapshot.from_stamp is not None
    assert _values(snapshot.from_receipt) == pytest.approx((7, 7, 7))
    assert _values(snapshot.from_stamp) == pytest.approx((9, 9, 9))


def test_old_latencies_are_forgotten() -> None:
    health = HealthMonitor()
    for latency in [1_000] * 300 + [1] * 300:
        health.processed(latency * MILLISECOND, None, tracks=0, epoch=1)
    snapshot = health.snapshot()
    assert snapshot.from_receipt is not None
    assert _values(snapshot.from_receipt) == pytest.approx((1, 1, 1))


def _values(percentiles: Percentiles) -> tuple[float, float, float]:
    return percentiles.p50, percentiles.p95, percentiles.p99
