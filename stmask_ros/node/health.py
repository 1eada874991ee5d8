"""What the node measures of itself, and how it tells on /diagnostics. No threads of its own."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from stmask_ros.node.mailbox import REPLACED, Counts

_WINDOW = 300
_FAILURES_IN_A_ROW = 3
_SILENCE = 2.0
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
    tracks: in the last result. epoch: of the last result; 0 before the first.
    failures_in_a_row: images dropped since the last one processed, for other reasons than haste.
    last_failure: why, for people. overlay_failures: pictures that could not be drawn.
    """

    from_receipt: Percentiles | None = None
    from_stamp: Percentiles | None = None
    tracks: int = 0
    epoch: int = 0
    failures_in_a_row: int = 0
    last_failure: str = ''
    picture_failures: int = 0


class HealthMonitor:
    """Collects measurements in the worker's thread for the executor's thread to read."""

    def __init__(self) -> None:
        """Start without measurements."""
        self._lock = threading.Lock()
        self._from_receipt: deque[int] = deque(maxlen=_WINDOW)
        self._from_stamp: deque[int] = deque(maxlen=_WINDOW)
        self._tracks = self._epoch = self._failures = self._picture_failures = 0
        self._last_failure = ''

    def processed(self, receipt_ns: int, stamp_ns: int | None, tracks: int, epoch: int) -> None:
        """Note a published image: its latencies [ns] (from the stamp only if it has one)."""
        with self._lock:
            self._from_receipt.append(receipt_ns)
            if stamp_ns is not None:
                self._from_stamp.append(stamp_ns)
            self._tracks, self._epoch, self._failures = tracks, epoch, 0

    def failed(self, explanation: str) -> None:
        """Note an image that could not be processed."""
        with self._lock:
            self._failures += 1
            self._last_failure = explanation

    def picture_failed(self) -> None:
        """Note an overlay or label image that could not be made."""
        with self._lock:
            self._picture_failures += 1

    def snapshot(self) -> Health:
        """Return the measurements up to now."""
        with self._lock:
            return Health(
                _percentiles(self._from_receipt), _percentiles(self._from_stamp), self._tracks,
                self._epoch, self._failures, self._last_failure, self._picture_failures,
            )


def _percentiles(nanoseconds: Sequence[int] | deque[int]) -> Percentiles | None:
    if not nanoseconds:
        return None
    values = np.percentile(np.asarray(nanoseconds, np.float64), (50, 95, 99)) * _MILLISECONDS
    return Percentiles(*(float(value) for value in values))


@dataclass(frozen=True)
class Situation:
    """
    All that a diagnostic report tells.

    state: of the lifecycle ('active', ...). failure: why it could not be configured, or empty.
    model, device: empty until configured.
    notices: standing warnings, such as weights that are not trained.
    topic: what images are received on, resolved. publishers: how many publish there.
    """

    name: str
    state: str
    failure: str
    enabled: bool
    model: str
    device: str
    notices: Sequence[str]
    topic: str
    publishers: int
    counts: Counts
    health: Health


@dataclass(frozen=True)
class _Moment:
    time: float
    received: int
    processed: int
    received_at: float


class Reporter:
    """Turns situations into diagnostic messages; remembers the one before, for the rates."""

    def __init__(self, now: float) -> None:
        """Start at `now` [s, steady clock]."""
        self._before = _Moment(now, 0, 0, now)

    def report(self, situation: Situation, now: float, stamp: Time) -> DiagnosticArray:
        """Return the report of a situation at `now` [s, steady clock]."""
        counts, before = situation.counts, self._before
        arrived = counts.received > before.received or situation.state != 'active'
        moment = _Moment(
            now, counts.received, counts.processed, now if arrived else before.received_at
        )
        self._before = moment
        elapsed = max(now - before.time, 1e-3)
        rates = [
            ('rate in [Hz]', f'{(moment.received - before.received) / elapsed:.1f}'),
            ('rate out [Hz]', f'{(moment.processed - before.processed) / elapsed:.1f}'),
        ]
        level, message = _verdict(situation, now - moment.received_at)
        status = DiagnosticStatus(
            level=level, name=f'{situation.name}: segmenter', message=message,
            hardware_id=situation.topic,
        )
        status.values = [
            KeyValue(key=key, value=value) for key, value in _facts(situation) + rates
        ]
        array = DiagnosticArray(status=[status])
        array.header.stamp = stamp
        return array


def _verdict(situation: Situation, silence: float) -> tuple[bytes, str]:
    """Return the level and the one thing that matters most. silence: without images [s]."""
    health = situation.health
    if situation.failure:
        return DiagnosticStatus.ERROR, situation.failure
    if health.failures_in_a_row >= _FAILURES_IN_A_ROW:
        return DiagnosticStatus.ERROR, (
            f'the last {health.failures_in_a_row} images could not be processed: '
            f'{health.last_failure}'
        )
    if situation.state == 'active' and situation.enabled and silence > _SILENCE:
        return DiagnosticStatus.WARN, (
            f'no image for {silence:.0f} s on {situation.topic}, '
            f'which has {situation.publishers} publishers'
        )
    if situation.notices:
        return DiagnosticStatus.WARN, '; '.join(situation.notices)
    if not situation.enabled:
        return DiagnosticStatus.OK, f'{situation.state}, disabled by ~/set_enabled'
    return DiagnosticStatus.OK, situation.state


def _facts(situation: Situation) -> list[tuple[str, str]]:
    counts, health = situation.counts, situation.health
    facts = [
        ('state', situation.state),
        ('enabled', str(situation.enabled)),
        ('model', situation.model),
        ('device', situation.device),
        ('epoch', str(health.epoch)),
        ('live tracks', str(health.tracks)),
        ('images received', str(counts.received)),
        ('images processed', str(counts.processed)),
        ('images waiting or in work', str(counts.waiting + counts.in_flight)),
        ('images dropped', str(sum(counts.dropped.values()))),
        ('pictures failed', str(health.picture_failures)),
    ]
    # Dropping what the network has no time for is normal, and its count is always there.
    reasons = {REPLACED: 0} | dict(counts.dropped)
    facts += [(f'dropped: {reason}', str(count)) for reason, count in sorted(reasons.items())]
    if health.from_receipt is not None:
        facts.append(('latency from receipt, p50 / p95 / p99 [ms]', str(health.from_receipt)))
    if health.from_stamp is not None:
        facts.append(('latency from stamp, p50 / p95 / p99 [ms]', str(health.from_stamp)))
    return facts
