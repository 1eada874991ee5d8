# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""How the node tells of itself on /diagnostics: one status a camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from stmask_ros.node.health import Health, Percentiles
from stmask_ros.node.model_swap import LoadCounts
from stmask_ros.node.segment_once import RequestCounts
from stmask_ros.node.selection import SelectionCounts
from stmask_ros.ros.mailbox import REPLACED, Counts

_FAILURES_IN_A_ROW = 3
_SILENCE = 2.0


@dataclass(frozen=True)
class NodeSituation:
    """
    What a diagnostic report tells of the node.

    name: of the node, resolved. state: of the lifecycle ('active', ...).
    failure: why it could not be configured or activated, or empty.
    model, sha256, device, precision, engine: empty until configured.
    notices: standing warnings, such as weights that are not trained.
    trace: the trace file; empty if none is written.
    segment, load: what became of the requests of ~/segment and ~/load_model.
    """

    name: str
    state: str
    failure: str
    model: str
    sha256: str
    device: str
    precision: str
    engine: str
    notices: Sequence[str]
    trace: str
    segment: RequestCounts
    load: LoadCounts


@dataclass(frozen=True)
class CameraSituation:
    """
    What a diagnostic report tells of a camera.

    topic: what images are received on, resolved. publishers: how many publish there.
    incompatible: what to do about each publisher whose quality of service does not fit.
    """

    name: str
    enabled: bool
    topic: str
    publishers: int
    incompatible: Sequence[str]
    counts: Counts
    health: Health
    selection: SelectionCounts


@dataclass(frozen=True)
class _Moment:
    """answered: the counts when an image was last answered, or the wait for one began."""

    time: float
    received: int
    processed: int
    received_at: float
    answered_at: float
    answered: Counts


class Reporter:
    """Turns the situations of a camera into statuses; remembers the one before, for the rates."""

    def __init__(self, now: float) -> None:
        """Start at `now` [s, steady clock]."""
        self._before = _Moment(now, 0, 0, now, now, Counts(0, 0, {}, 0, 0))

    def report(
        self, node: NodeSituation, camera: CameraSituation, now: float
    ) -> DiagnosticStatus:
        """Return the status of a camera at `now` [s, steady clock]."""
        counts, before = camera.counts, self._before
        idle = node.state != 'active' or not camera.enabled
        arrived = counts.received > before.received or idle
        answered = counts.processed > before.processed or idle
        moment = _Moment(
            now, counts.received, counts.processed, now if arrived else before.received_at,
            now if answered else before.answered_at, counts if answered else before.answered,
        )
        self._before = moment
        elapsed = max(now - before.time, 1e-3)
        rates = [
            ('rate in [Hz]', f'{(moment.received - before.received) / elapsed:.1f}'),
            ('rate out [Hz]', f'{(moment.processed - before.processed) / elapsed:.1f}'),
        ]
        level, message = _verdict(
            node, camera, now - moment.received_at, _unanswered(counts, moment, now)
        )
        status = DiagnosticStatus(
            level=level, name=f'{node.name}: {camera.name}', message=message,
            hardware_id=camera.topic,
        )
        status.values = [
            KeyValue(key=key, value=value)
            for key, value in _node_facts(node) + _camera_facts(camera) + rates
        ]
        return status


def _unanswered(counts: Counts, moment: _Moment, now: float) -> str:
    """Say why no image was answered for some time though some came; '' if one was, or may be."""
    since = {
        reason: count - moment.answered.dropped.get(reason, 0)
        for reason, count in counts.dropped.items() if reason != REPLACED
    }
    silence = now - moment.answered_at
    if silence <= _SILENCE or not sum(since.values()):
        return ''
    told = ', '.join(f'{reason} ({count})' for reason, count in sorted(since.items()) if count)
    return f'images come, but none was answered for {silence:.0f} s: {told}'


def _verdict(
    node: NodeSituation, camera: CameraSituation, silence: float, unanswered: str
) -> tuple[bytes, str]:
    """
    Return the level and the one thing that matters most.

    silence: without images [s]. unanswered: why no image was answered, if none was.
    """
    health = camera.health
    if node.failure:
        return DiagnosticStatus.ERROR, node.failure
    if health.failures_in_a_row >= _FAILURES_IN_A_ROW:
        return DiagnosticStatus.ERROR, (
            f'the last {health.failures_in_a_row} images could not be processed: '
            f'{health.last_failure}'
        )
    if camera.incompatible:
        return DiagnosticStatus.WARN, '; '.join(camera.incompatible)
    if node.state == 'active' and camera.enabled and silence > _SILENCE:
        return DiagnosticStatus.WARN, (
            f'no image for {silence:.0f} s on {camera.topic}, '
            f'which has {camera.publishers} publishers'
        )
    if unanswered:
        return DiagnosticStatus.WARN, unanswered
    if node.notices:
        return DiagnosticStatus.WARN, '; '.join(node.notices)
    if not camera.enabled:
        return DiagnosticStatus.OK, f'{node.state}, disabled by ~/set_enabled'
    return DiagnosticStatus.OK, node.state


def _node_facts(node: NodeSituation) -> list[tuple[str, str]]:
    return [
        ('state', node.state),
        ('model', node.model),
        ('model sha256', node.sha256),
        ('device', node.device),
        ('precision', node.precision),
        ('engine', node.engine),
        ('trace', node.trace or 'off'),
        ('segment requests received', str(node.segment.received)),
        ('segment requests answered', str(node.segment.answered)),
        ('segment requests refused', str(node.segment.refused)),
        ('segment requests waiting', str(node.segment.waiting)),
        ('model requests received', str(node.load.received)),
        ('models loaded', str(node.load.loaded)),
        ('model requests refused', str(node.load.refused)),
        ('model that is loading', node.load.loading or 'none'),
        ('model refused last', node.load.last_refusal or 'none'),
    ]


def _camera_facts(camera: CameraSituation) -> list[tuple[str, str]]:
    counts, health = camera.counts, camera.health
    # Dropping what the network has no time for is normal, and its count is always there.
    reasons = {REPLACED: 0} | dict(counts.dropped)
    return [
        ('enabled', str(camera.enabled)),
        ('epoch', str(health.epoch)),
        ('live tracks', str(health.tracks)),
        ('images received', str(counts.received)),
        ('images processed', str(counts.processed)),
        ('images waiting or in work', str(counts.waiting + counts.in_flight)),
        ('images dropped', str(sum(counts.dropped.values()))),
        ('incompatible publishers', str(len(camera.incompatible))),
        ('views failed', str(health.view_failures)),
        *((f'objects {what}', str(count)) for what, count in _selection(camera.selection)),
        *((f'dropped: {reason}', str(count)) for reason, count in sorted(reasons.items())),
        *((f'{what}, p50 / p95 / p99 [ms]', str(time)) for what, time in _times(health)),
    ]


def _selection(counts: SelectionCounts) -> list[tuple[str, int]]:
    return [
        ('chosen so far', counts.chosen),
        ('chosen now', counts.now),
        ('away now', counts.away),
        ('lost', counts.lost),
        ('released', counts.released),
        ('found again', counts.reacquired),
        ('refused', counts.refused),
    ]


def _times(health: Health) -> list[tuple[str, Percentiles]]:
    latencies = [
        ('latency from receipt', health.from_receipt), ('latency from stamp', health.from_stamp)
    ]
    known = [(what, time) for what, time in latencies if time is not None]
    return known + [(f'time in {stage}', time) for stage, time in health.stages.items()]
