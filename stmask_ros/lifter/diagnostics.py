# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""How the lifter tells of itself on /diagnostics."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from stmask_ros.lifter.pairing import StreamCounts

_FAILURES_IN_A_ROW = 3
_SILENCE = 2.0
_WINDOW = 300


@dataclass(frozen=True)
class LifterSituation:
    """
    What a report tells.

    name: of the node, resolved. state: of the lifecycle. failure: why it could not be configured
    or activated, or empty. notices: standing warnings. frame: of the output.
    topics: publishers of each topic that it subscribes to, by its resolved name.
    instances, depth: the books. health: what the worker measured.
    """

    name: str
    state: str
    failure: str
    notices: Sequence[str]
    frame: str
    topics: Mapping[str, int]
    instances: StreamCounts
    depth: StreamCounts
    health: LifterHealth


@dataclass(frozen=True)
class LifterHealth:
    """
    The worker's measurements.

    latencies: from receipt to publication [ms]. tracks, measured, rejected: in the last pair:
    all, those whose measurement counted, those beyond the gate. failures_in_a_row: pairs dropped
    since the last that was lifted. last_failure: why. view_failures: views that were not made.
    off_by: by how many frames the stamps of depth are off, as far as masks can tell.
    """

    latencies: Sequence[float]
    tracks: int
    measured: int
    rejected: int
    failures_in_a_row: int
    last_failure: str
    view_failures: int
    off_by: int


class LifterMonitor:
    """Collects measurements in the worker's thread for the executor's thread to read."""

    def __init__(self) -> None:
        """Start without measurements."""
        self._lock = threading.Lock()
        self._latencies: deque[float] = deque(maxlen=_WINDOW)
        self._counts = (0, 0, 0)
        self._failures = self._view_failures = 0
        self._last_failure = ''
        self._off_by = 0

    def lifted(self, nanoseconds: int, tracks: int, measured: int, rejected: int) -> None:
        """Note a pair that was lifted."""
        with self._lock:
            self._latencies.append(nanoseconds * 1e-6)
            self._counts = (tracks, measured, rejected)
            self._failures = 0

    def failed(self, explanation: str) -> None:
        """Note a pair that was dropped by the worker."""
        with self._lock:
            self._failures += 1
            self._last_failure = explanation

    def view_failed(self) -> None:
        """Note a view that could not be made."""
        with self._lock:
            self._view_failures += 1

    def stamps_off_by(self, frames: int) -> None:
        """Note by how many frames the stamps of depth seem to be off."""
        with self._lock:
            self._off_by = frames

    def snapshot(self) -> LifterHealth:
        """Return the measurements up to now."""
        with self._lock:
            return LifterHealth(
                tuple(self._latencies), *self._counts, self._failures, self._last_failure,
                self._view_failures, self._off_by)


class LifterReporter:
    """Turns situations into statuses; remembers the one before, to find silence."""

    def __init__(self, now: float) -> None:
        """Start at `now` [s, steady clock]."""
        self._received = (0, 0)
        self._since = [now, now]

    def report(self, situation: LifterSituation, now: float) -> DiagnosticStatus:
        """Return the status at `now` [s, steady clock]."""
        received = (situation.instances.received, situation.depth.received)
        for stream, (before, after) in enumerate(zip(self._received, received, strict=True)):
            if after > before or situation.state != 'active':
                self._since[stream] = now
        self._received = received
        level, message = _verdict(situation, [now - since for since in self._since])
        status = DiagnosticStatus(
            level=level, name=f'{situation.name}: lifter', message=message,
            hardware_id=', '.join(situation.topics))
        status.values = [KeyValue(key=key, value=value) for key, value in _facts(situation)]
        return status


def _verdict(situation: LifterSituation, silence: Sequence[float]) -> tuple[bytes, str]:
    """Return the level and the one thing that matters most. silence: of both streams [s]."""
    health = situation.health
    if situation.failure:
        return DiagnosticStatus.ERROR, situation.failure
    if health.failures_in_a_row >= _FAILURES_IN_A_ROW:
        return DiagnosticStatus.ERROR, (
            f'the last {health.failures_in_a_row} pairs could not be lifted: '
            f'{health.last_failure}')
    if situation.state == 'active':
        for topic, seconds in zip(list(situation.topics)[:2], silence, strict=False):
            if seconds > _SILENCE:
                return DiagnosticStatus.WARN, (
                    f'nothing for {seconds:.0f} s on {topic}, which has '
                    f'{situation.topics[topic]} publishers')
        if situation.instances.received > 10 and not (
                situation.instances.lifted + health.failures_in_a_row):
            return DiagnosticStatus.WARN, (
                'no instances have found depth of their stamp: are the stamps the same? The '
                'parameter slop allows for a difference')
    if health.off_by:
        which = 'after' if health.off_by > 0 else 'before'
        return DiagnosticStatus.WARN, (
            f'depth of the frame {which} fits the masks better than that of the same stamp: the '
            'stamps of depth and images seem to be off by one frame')
    if situation.notices:
        return DiagnosticStatus.WARN, '; '.join(situation.notices)
    return DiagnosticStatus.OK, situation.state


def _facts(situation: LifterSituation) -> list[tuple[str, str]]:
    health = situation.health
    facts = [
        ('state', situation.state),
        ('output frame', situation.frame),
        ('tracks', str(health.tracks)),
        ('tracks measured', str(health.measured)),
        ('tracks beyond the gate', str(health.rejected)),
        ('views failed', str(health.view_failures)),
        ('stamps of depth off by [frames]', str(health.off_by)),
    ]
    for name, counts in (('instances', situation.instances), ('depth', situation.depth)):
        facts += [
            (f'{name} received', str(counts.received)),
            (f'{name} lifted', str(counts.lifted)),
            (f'{name} waiting or in work', str(counts.waiting + counts.in_work)),
            (f'{name} dropped', str(sum(counts.dropped.values()))),
            *((f'{name} dropped: {reason}', str(count))
              for reason, count in sorted(counts.dropped.items()))]
    if health.latencies:
        p50, p95, p99 = np.percentile(health.latencies, (50, 95, 99))
        facts.append(
            ('latency from receipt, p50 / p95 / p99 [ms]', f'{p50:.1f} / {p95:.1f} / {p99:.1f}'))
    return facts
