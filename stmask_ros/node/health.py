# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What the node measures of the images of one camera. No threads of its own."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

_WINDOW = 300
_QUANTILES = (0.50, 0.95, 0.99)
_MILLISECONDS = 1e-6


@dataclass(frozen=True)
class Percentiles:
    """50th, 95th and 99th percentile of a latency [ms]."""

    p50: float
    p95: float
    p99: float

    def __str__(self) -> str:
        """Return the three, as in '12.3 / 20.1 / 31.0'."""
        return f'{self.p50:.1f} / {self.p95:.1f} / {self.p99:.1f}'


@dataclass(frozen=True)
class Health:
    """
    The worker's measurements.

    from_receipt, from_stamp: latency up to the publication; None before the first image.
    stages: time in each stage of the work, by its name, in the order in which they first ran.
    tracks: in the last result. epoch: of the last result; 0 before the first.
    failures_in_a_row: images dropped since the last one processed, for other reasons than haste.
    last_failure: why, for people. view_failures: pictures and detections that could not be made.
    """

    from_receipt: Percentiles | None = None
    from_stamp: Percentiles | None = None
    stages: Mapping[str, Percentiles] = field(default_factory=dict)
    tracks: int = 0
    epoch: int = 0
    failures_in_a_row: int = 0
    last_failure: str = ''
    view_failures: int = 0


class HealthMonitor:
    """Collects measurements in the worker's thread for the executor's thread to read."""

    def __init__(self) -> None:
        """Start without measurements."""
        self._lock = threading.Lock()
        self._from_receipt = _window()
        self._from_stamp = _window()
        self._stages: defaultdict[str, deque[int]] = defaultdict(_window)
        self._tracks = self._epoch = self._failures = self._view_failures = 0
        self._last_failure = ''

    def processed(self, receipt_ns: int, stamp_ns: int | None, tracks: int, epoch: int) -> None:
        """Note a published image: its latencies [ns] (from the stamp only if it has one)."""
        with self._lock:
            self._from_receipt.append(receipt_ns)
            if stamp_ns is not None:
                self._from_stamp.append(stamp_ns)
            self._tracks, self._epoch, self._failures = tracks, epoch, 0

    def took(self, stage: str, nanoseconds: int) -> None:
        """Note the time that an image spent in a stage [ns]."""
        with self._lock:
            self._stages[stage].append(nanoseconds)

    def failed(self, explanation: str) -> None:
        """Note an image that could not be processed."""
        with self._lock:
            self._failures += 1
            self._last_failure = explanation

    def view_failed(self) -> None:
        """Note an overlay or label image that could not be made."""
        with self._lock:
            self._view_failures += 1

    def snapshot(self) -> Health:
        """Return the measurements up to now."""
        with self._lock:
            return Health(
                from_receipt=_percentiles(self._from_receipt) if self._from_receipt else None,
                from_stamp=_percentiles(self._from_stamp) if self._from_stamp else None,
                stages={stage: _percentiles(times) for stage, times in self._stages.items()},
                tracks=self._tracks,
                epoch=self._epoch,
                failures_in_a_row=self._failures,
                last_failure=self._last_failure,
                view_failures=self._view_failures,
            )


def _window() -> deque[int]:
    return deque(maxlen=_WINDOW)


def _percentiles(nanoseconds: deque[int]) -> Percentiles:
    # The nearest measured value; numpy.percentile takes four times as long for so few.
    ordered = sorted(nanoseconds)
    last = len(ordered) - 1
    nearest = (ordered[round(quantile * last)] for quantile in _QUANTILES)
    return Percentiles(*(time * _MILLISECONDS for time in nearest))
