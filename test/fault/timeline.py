# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Images whose stamps jump, repeat and vanish, and a second opinion on where epochs begin."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

MILLISECOND = 1_000_000
SECOND = 1_000_000_000
YEAR = 365 * 24 * 3600 * SECOND
MAX_GAP = 10
SIZES = ((160, 120), (120, 160), (64, 48))


@dataclass(frozen=True)
class Event:
    """
    One image.

    kind: what happened to the stream. stamp: of the image [ns], 0 for none.
    size: width, height [pixel]. reset: whether someone calls ~/reset just before it.
    """

    kind: str
    stamp: int
    size: tuple[int, int]
    reset: bool = False


class Timeline:
    """A stream to which something happens all the time. Iterating yields events without end."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._now = self._start = 1000 * SECOND
        self._size = SIZES[0]

    def __iter__(self) -> Iterator[Event]:
        kinds: dict[str, Callable[[str], Iterator[Event]]] = {
            'tick': self._tick, 'backward': self._backward, 'gap': self._gap,
            'longest pause': self._longest_pause, 'just too long': self._just_too_long,
            'duplicate': self._duplicate, 'no stamp': self._no_stamp, 'future': self._future,
            'out of order': self._out_of_order, 'looped bag': self._loop, 'reset': self._reset,
            'resolution': self._resolution, 'resolution without stamp': self._unstamped_resolution,
            'reset at a duplicate': self._reset_at_duplicate, 'before 1970': self._before_1970,
        }
        while True:
            kind = self._random.choice(list(kinds))
            yield from kinds[kind](kind)
            yield from self._tick('tick')

    def _image(self, kind: str, reset: bool = False) -> Event:
        return Event(kind, self._now, self._size, reset)

    def _step(self, kind: str, nanoseconds: int) -> Iterator[Event]:
        self._now += nanoseconds
        yield self._image(kind)

    def _tick(self, kind: str) -> Iterator[Event]:
        return self._step(kind, 33 * MILLISECOND)

    def _backward(self, kind: str) -> Iterator[Event]:
        # Never below zero, and never to zero, which means no stamp.
        back = self._random.choice([1, MILLISECOND, SECOND, 100 * SECOND])
        return self._step(kind, -min(back, abs(self._now) // 2))

    def _gap(self, kind: str) -> Iterator[Event]:
        return self._step(kind, self._random.randint(MAX_GAP + 1, 5000) * SECOND)

    def _longest_pause(self, kind: str) -> Iterator[Event]:
        return self._step(kind, MAX_GAP * SECOND)

    def _just_too_long(self, kind: str) -> Iterator[Event]:
        return self._step(kind, MAX_GAP * SECOND + 1)

    def _duplicate(self, kind: str) -> Iterator[Event]:
        yield self._image(kind)
        yield self._image(kind)

    def _no_stamp(self, kind: str) -> Iterator[Event]:
        for _ in range(self._random.randint(1, 3)):
            yield Event(kind, 0, self._size)

    def _future(self, kind: str) -> Iterator[Event]:
        yield Event(kind, self._now + 30 * YEAR, self._size)

    def _before_1970(self, kind: str) -> Iterator[Event]:
        yield Event(kind, -5 * SECOND, self._size)

    def _out_of_order(self, kind: str) -> Iterator[Event]:
        for step in (66, 33, 99):
            yield Event(kind, self._now + step * MILLISECOND, self._size)
        self._now += 99 * MILLISECOND

    def _loop(self, kind: str) -> Iterator[Event]:
        self._now = self._start
        yield self._image(kind)

    def _reset(self, kind: str) -> Iterator[Event]:
        self._now += 33 * MILLISECOND
        yield self._image(kind, reset=True)

    def _reset_at_duplicate(self, kind: str) -> Iterator[Event]:
        yield self._image(kind, reset=True)

    def _resolution(self, kind: str) -> Iterator[Event]:
        self._size = self._random.choice([size for size in SIZES if size != self._size])
        return self._tick(kind)

    def _unstamped_resolution(self, kind: str) -> Iterator[Event]:
        self._size = self._random.choice([size for size in SIZES if size != self._size])
        yield Event(kind, 0, self._size)


@dataclass
class Oracle:
    """
    Says what the message's definition promises of each event, by rules of its own.

    "A repeated stamp is processed once; one older than the last, or a gap beyond max_gap, starts
    a new epoch", and so do a reset and a change of resolution. Without a stamp, time says nothing.
    """

    newest: int = 0
    size: tuple[int, int] | None = None

    def judge(self, event: Event) -> str:
        """Return 'repeated', 'new' or 'same' (epoch), and take note of the event."""
        if event.reset:
            self.newest = 0
        stamped = event.stamp != 0 and self.newest != 0
        resized = self.size is not None and event.size != self.size
        if stamped and event.stamp == self.newest and not resized:
            return 'repeated'
        passed = event.stamp - self.newest if stamped else 0
        broken = event.reset or resized or not 0 <= passed <= MAX_GAP * SECOND
        self.size = event.size
        self.newest = event.stamp or self.newest
        return 'new' if broken else 'same'
