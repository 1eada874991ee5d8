# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Finds the depth of each image's instances by its stamp, and keeps exact books of both."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NO_PARTNER = 'no partner of this stamp'
REPLACED = 'replaced by a newer pair'
REPEATED = 'repeated stamp'
NO_STAMP = 'no stamp'
DEACTIVATED = 'deactivated'


@dataclass(frozen=True)
class Pair:
    """
    Instances and their depth.

    instances, depth: messages. received_ns: when the later of them came [ns, steady clock].
    before, after: the depth messages before and after that depth; None where there is none.
    """

    instances: Any
    depth: Any
    received_ns: int
    before: Any = None
    after: Any = None


@dataclass(frozen=True)
class StreamCounts:
    """
    What became of all messages of one stream.

    received: all; always equal to lifted + dropped + waiting + in_work.
    dropped: how many, by reason. waiting: for a partner, or for the worker. in_work: 0 or 1.
    """

    received: int
    lifted: int
    dropped: Mapping[str, int]
    waiting: int
    in_work: int


@dataclass(frozen=True)
class _Item:
    stamp: int
    message: Any
    received_ns: int


class _Stream:
    """Messages of one kind that wait for their partner, oldest first, and their books."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self.items: dict[int, _Item] = {}
        self.received = 0
        self.lifted = 0
        self.dropped: Counter[str] = Counter()

    def admit(self, item: _Item) -> bool:
        """Count a message, and keep it if its stamp is a new one."""
        self.received += 1
        if item.stamp == 0 or item.stamp in self.items:
            self.dropped[NO_STAMP if item.stamp == 0 else REPEATED] += 1
            return False
        self.items[item.stamp] = item
        if len(self.items) > self._capacity:
            del self.items[next(iter(self.items))]
            self.dropped[NO_PARTNER] += 1
        return True

    def take(self, stamp: int) -> _Item:
        """Take a message out; what came before it will find no partner any more."""
        for older in list(self.items):
            if older == stamp:
                break
            del self.items[older]
            self.dropped[NO_PARTNER] += 1
        return self.items.pop(stamp)

    def drop_all(self, reason: str) -> None:
        """Drop all that waits."""
        self.dropped[reason] += len(self.items)
        self.items.clear()


class Pairing:
    """
    Between two subscriptions and a worker: of all pairs that are ready, the newest wins.

    Any thread may call it. Every pair taken must be handed back by one finish() or drop().
    """

    def __init__(self, slop: int, capacity: int) -> None:
        """
        Start empty and closed.

        slop: largest difference of two stamps that belong together [ns]; 0: they are equal.
        capacity: messages of each stream that wait for their partner at most.
        """
        self._slop = slop
        self._changed = threading.Condition()
        self._instances, self._depths = _Stream(capacity), _Stream(capacity)
        self._ready: Pair | None = None
        self._in_work = 0
        self._open = False

    def put_instances(self, message: Any, stamp: int, received_ns: int) -> None:
        """Add instances, by the stamp of their image [ns]."""
        with self._changed:
            if self._instances.admit(_Item(stamp, message, received_ns)):
                self._match(received_ns)

    def put_depth(self, message: Any, stamp: int, received_ns: int) -> None:
        """Add a depth image or a cloud, by its stamp [ns]."""
        with self._changed:
            if self._depths.admit(_Item(stamp, message, received_ns)):
                self._match(received_ns)

    def take(self, timeout: float) -> Pair | None:
        """Wait for a pair at most `timeout` [s], and return the newest; None without one."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready is not None or not self._open, timeout)
            pair, self._ready = self._ready, None
            self._in_work += pair is not None
            return pair

    def finish(self) -> None:
        """Count the pair taken last as lifted."""
        with self._changed:
            self._in_work -= 1
            self._instances.lifted += 1
            self._depths.lifted += 1

    def drop(self, reason: str) -> None:
        """Count both messages of the pair taken last as dropped."""
        with self._changed:
            self._in_work -= 1
            self._drop_both(reason)

    def open(self) -> None:
        """Hand out pairs."""
        with self._changed:
            self._open = True

    def close(self) -> None:
        """Drop what waits, and let take() return nothing from now on."""
        with self._changed:
            self._open = False
            if self._ready is not None:
                self._ready = None
                self._drop_both(DEACTIVATED)
            self._instances.drop_all(DEACTIVATED)
            self._depths.drop_all(DEACTIVATED)
            self._changed.notify_all()

    def counts(self) -> tuple[StreamCounts, StreamCounts]:
        """Return a consistent snapshot of the books of instances and of depth."""
        with self._changed:
            return self._count(self._instances), self._count(self._depths)

    def _count(self, stream: _Stream) -> StreamCounts:
        waiting = len(stream.items) + (self._ready is not None)
        return StreamCounts(
            stream.received, stream.lifted, dict(stream.dropped), waiting, self._in_work)

    def _match(self, received_ns: int) -> None:
        """Make a pair of the newest instances that have their depth."""
        for stamp in sorted(self._instances.items, reverse=True):
            partner = self._partner(stamp)
            if partner is None:
                continue
            if self._ready is not None:
                self._drop_both(REPLACED)
            before = max((s for s in self._depths.items if s < partner), default=None)
            after = min((s for s in self._depths.items if s > partner), default=None)
            neighbours = [
                None if other is None else self._depths.items[other].message
                for other in (before, after)]
            self._ready = Pair(
                self._instances.take(stamp).message, self._depths.take(partner).message,
                received_ns, *neighbours)
            self._changed.notify()
            return

    def _partner(self, stamp: int) -> int | None:
        """Return the stamp of the depth for instances; None as long as a nearer one may come."""
        if stamp in self._depths.items:
            return stamp
        near = [other for other in self._depths.items if abs(other - stamp) <= self._slop]
        if not near or max(near) < stamp:
            return None
        return min(near, key=lambda other: abs(other - stamp))

    def _drop_both(self, reason: str) -> None:
        self._instances.dropped[reason] += 1
        self._depths.dropped[reason] += 1
