# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Time that jumps, stands still and repeats itself: epochs begin where they should, and only there.

1,000 events through a Stream, 40 through the node, of every family; 1,000 with --long.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from segmenter_process import SegmenterProcess, picture
from sensor_msgs.msg import Image
from timeline import MAX_GAP, Event, Oracle, Timeline

from stmask_ros.families.stmask.tracks import TrackerConfig
from stmask_ros.msg import TrackedInstanceArray
from stmask_ros.tracking.stream import DuplicateImageError, Stream
from stmask_ros.tracking.view import View

NAME = 'time_faults'


@dataclass(frozen=True)
class CountedState:
    """A stream's state that knows its epoch, and the stamps of that epoch."""

    epoch: int
    stamps: tuple[int, ...] = ()


class StateKeeper:
    """In place of a segmenter: its results are its states."""

    tracker = TrackerConfig()

    def initial_state(self, epoch: int) -> CountedState:
        return CountedState(epoch)

    def step(
        self, images: Sequence[np.ndarray], states: Sequence[CountedState],
        stamps: Sequence[int], *, views: Sequence[View],
    ) -> tuple[list[CountedState], list[CountedState]]:
        following = [replace(state, stamps=(*state.stamps, stamp))
                     for state, stamp in zip(states, stamps, strict=True)]
        return following, following


def test_a_stream(record_property: Callable[[str, object], None]) -> None:
    """The epoch rises exactly where the rules say, and no state goes from one to the next."""
    segmenter: Any = StateKeeper()
    stream = Stream(segmenter, itertools.count(1).__next__)
    oracle, happened = Oracle(), Counter()
    epoch, stamps = stream.epoch, []
    for event in itertools.islice(Timeline(7), 1000):
        if event.reset:
            stream.reset()
        verdict = oracle.judge(event)
        happened[verdict] += 1
        pixels = np.zeros((event.size[1], event.size[0], 3), np.uint8)
        if verdict == 'repeated':
            with pytest.raises(DuplicateImageError):
                stream.process(pixels, event.stamp, tracker=TrackerConfig(), max_gap=MAX_GAP)
            continue
        if verdict == 'new':
            epoch, stamps = epoch + 1, []
        stamps.append(event.stamp)
        output: Any = stream.process(
            pixels, event.stamp, tracker=TrackerConfig(), max_gap=MAX_GAP)
        assert (output.result.epoch, output.result.stamps) == (epoch, tuple(stamps)), event
    _note(happened, record_property)


@pytest.fixture
def segmenter(small_model: Path) -> Iterator[SegmenterProcess]:
    topic = f'/{NAME}/camera'
    node = SegmenterProcess(
        NAME, '-p', 'autostart:=true', '-p', f'model:={small_model}', '-p', 'torch_threads:=1',
        '-p', 'diagnostics_period:=0.05', '-p', f'max_gap:={MAX_GAP:.1f}',
        '-p', f'qos_overrides.{topic}.subscription.reliability:=reliable')
    try:
        node.warm_up(_message_at)
        yield node
    finally:
        node.close()


def _message_at(stamp_ms: int) -> Image:
    return _message(Event('', stamp_ms * 10**6, (160, 120)))


def _message(event: Event) -> Image:
    pixels = cv2.resize(picture(), event.size)
    message = Image(
        width=event.size[0], height=event.size[1], encoding='bgr8', step=3 * event.size[0])
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(event.stamp, 10**9)
    message.data.frombytes(pixels.tobytes())
    return message


def test_the_node(
    segmenter: SegmenterProcess, record_property: Callable[[str, object], None], long: bool
) -> None:
    """The same through the node, with real tracks: none is older than its epoch."""
    oracle, happened = Oracle(), Counter()
    epoch = EpochCheck()
    for event in itertools.islice(Timeline(8), 1000 if long else 40):
        if event.reset:
            segmenter.reset()
        verdict = oracle.judge(event)
        happened[verdict] += 1
        if verdict == 'repeated':
            before = segmenter.counts()
            segmenter.images.publish(_message(event))
            segmenter.wait_for_drop('repeated stamp', before)
        else:
            epoch.check(segmenter.answer(_message(event)), verdict, event)
    record_property('tracks seen', epoch.tracks)
    _note(happened, record_property)


class EpochCheck:
    """Checks each answer against those before it."""

    def __init__(self) -> None:
        self.last: TrackedInstanceArray | None = None
        self.stamps: list[tuple[int, int]] = []
        self.births: dict[int, tuple[int, int]] = {}
        self.tracks = 0

    def check(self, answer: TrackedInstanceArray, verdict: str, event: Event) -> None:
        """Fail unless epoch and sequence are as expected and all tracks of this epoch."""
        if self.last is None or verdict == 'new':
            assert self.last is None or answer.epoch == self.last.epoch + 1, event
            assert (answer.sequence, answer.temporal_valid) == (1, False)
            self.stamps, self.births = [], {}
        else:
            assert (answer.epoch, answer.sequence) == (
                self.last.epoch, self.last.sequence + 1), event
        stamp = answer.header.stamp
        self.stamps.append((stamp.sec, stamp.nanosec))
        assert len({item.track_id for item in answer.instances}) == len(answer.instances)
        known = len(self.births)
        for item in answer.instances:
            birth = (item.first_seen.sec, item.first_seen.nanosec)
            assert birth in self.stamps
            assert self.births.setdefault(item.track_id, birth) == birth
            assert item.age <= answer.sequence
        self.tracks += len(self.births) - known
        self.last = answer


def _note(happened: Counter[str], record_property: Callable[[str, object], None]) -> None:
    record_property('events', sum(happened.values()))
    record_property('  new epochs', happened['new'])
    record_property('  repeated', happened['repeated'])
    assert min(happened[verdict] for verdict in ('new', 'repeated', 'same')) > 0
