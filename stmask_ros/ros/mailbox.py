# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Mailboxes of one: a camera's newest image wins, and every image that loses is counted."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

Message = TypeVar('Message')

REPLACED = 'replaced by a newer image'

# A camera that sent nothing for so long [ns] is not waited for.
_SILENCE = 1_000_000_000


@dataclass(frozen=True)
class QueuedMessage(Generic[Message]):
    """
    A message taken out of a mailbox.

    number: how many had arrived with it, from 1. received_ns: when [ns, steady clock].
    skipped: messages between this one and the one last finished, all dropped.
    """

    message: Message
    number: int
    received_ns: int
    skipped: int


@dataclass(frozen=True)
class Counts:
    """
    What became of all messages so far.

    received: all that arrived; always equal to processed + dropped + waiting + in_flight.
    dropped: how many, by reason.
    waiting: in the slot (0 or 1). in_flight: taken, and neither finished nor dropped yet.
    """

    received: int
    processed: int
    dropped: Mapping[str, int]
    waiting: int
    in_flight: int


@dataclass(frozen=True)
class _Waiting(Generic[Message]):
    """since_ns: when the first of the messages arrived that this one has replaced."""

    message: Message
    number: int
    received_ns: int
    since_ns: int


class Mailbox(Generic[Message]):
    """
    The one-message slot between a subscription and a worker thread; a MailboxSet makes it.

    Every message taken out must be handed back by exactly one finish() or drop().
    """

    def __init__(self, changed: threading.Condition) -> None:
        """Start empty, with all counts at zero; changed: guards all mailboxes of the set."""
        self._changed = changed
        self._waiting: _Waiting[Message] | None = None
        self._last_received_ns: int | None = None
        self._received = 0
        self._processed = 0
        self._in_flight = 0
        self._dropped: Counter[str] = Counter()
        self._dropped_before_taken = 0
        self._dropped_before_finished = 0

    def put(self, message: Message, received_ns: int) -> None:
        """
        Leave a message for the worker; one that still waits is dropped as REPLACED.

        received_ns: when it arrived [ns, time.monotonic_ns()].
        """
        with self._changed:
            self._received += 1
            since_ns = received_ns if self._waiting is None else self._waiting.since_ns
            self._drop_waiting(REPLACED)
            self._waiting = _Waiting(message, self._received, received_ns, since_ns)
            self._last_received_ns = received_ns
            self._changed.notify()

    def refuse(self, reason: str) -> None:
        """Count a message that arrived and is dropped at once, with the one that waits."""
        with self._changed:
            self._received += 1
            self._dropped[reason] += 1
            self._drop_waiting(reason)
            self._last_received_ns = None

    def finish(self) -> None:
        """Count the message taken last as processed."""
        with self._changed:
            self._in_flight -= 1
            self._processed += 1
            self._dropped_before_finished = self._dropped_before_taken

    def drop(self, reason: str) -> None:
        """Count the message taken last as dropped."""
        with self._changed:
            self._in_flight -= 1
            self._dropped[reason] += 1

    def counts(self) -> Counts:
        """Return a consistent snapshot."""
        with self._changed:
            return Counts(
                received=self._received,
                processed=self._processed,
                dropped=dict(self._dropped),
                waiting=int(self._waiting is not None),
                in_flight=self._in_flight,
            )

    # For the MailboxSet, which holds the condition.

    def _hand_out(self) -> QueuedMessage[Message]:
        assert self._waiting is not None
        waiting, self._waiting = self._waiting, None
        self._in_flight += 1
        self._dropped_before_taken = self._dropped.total()
        skipped = self._dropped_before_taken - self._dropped_before_finished
        return QueuedMessage(waiting.message, waiting.number, waiting.received_ns, skipped)

    def _expected_until(self) -> int:
        """Return until when another message may well come [ns]; 0 if none is to come."""
        if self._waiting is not None or self._last_received_ns is None:
            return 0
        return self._last_received_ns + _SILENCE

    def _drop_waiting(self, reason: str) -> None:
        if self._waiting is not None:
            self._dropped[reason] += 1
            self._waiting = None


class MailboxSet(Generic[Message]):
    """
    The mailboxes of several cameras, emptied by one worker.

    boxes: one a camera, filled from any thread.
    """

    def __init__(self, count: int) -> None:
        """Start open, with `count` empty mailboxes."""
        self._changed = threading.Condition()
        self._open = True
        self._interrupted = False
        self.boxes: tuple[Mailbox[Message], ...] = tuple(
            Mailbox(self._changed) for _ in range(count)
        )

    def take(self, most: int = 1, patience: float = 0.0) -> dict[int, QueuedMessage[Message]]:
        """
        Wait for a message and return it, with those that wait in other mailboxes.

        most: messages at most; those that have waited the longest go first.
        patience: how long a message waits for company [s], if the cameras that may yet send some
        have sent something within the last second.
        Returns the messages by the index of their mailbox; none if they are closed or interrupted,
        or if what waited was refused meanwhile.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._since() or self._interrupted or not self._open)
            self._interrupted = False
            self._wait_for_company(most, round(patience * 1e9))
            if not self._open:
                return {}
            oldest_first = sorted(self._since().items(), key=lambda item: item[1])
            return {index: self.boxes[index]._hand_out() for index, _ in oldest_first[:most]}

    def close(self, reason: str) -> None:
        """Drop what waits, and let take() return nothing from now on."""
        with self._changed:
            self._open = False
            for box in self.boxes:
                box._drop_waiting(reason)
            self._changed.notify_all()

    def interrupt(self) -> None:
        """Let take() return at once, this time or the next, with what there is."""
        with self._changed:
            self._interrupted = True
            self._changed.notify_all()

    def open(self) -> None:
        """Hand out messages again after close()."""
        with self._changed:
            self._open = True

    def _since(self) -> dict[int, int]:
        """Return since when somebody waits [ns], by the index of the mailbox."""
        return {
            index: box._waiting.since_ns
            for index, box in enumerate(self.boxes) if box._waiting is not None
        }

    def _wait_for_company(self, most: int, patience_ns: int) -> None:
        """Wait until enough messages are there, none is expected any more, or it is too late."""
        while self._open and 0 < len(since := self._since()) < most:
            too_late = min(since.values()) + patience_ns
            expected_until = max(box._expected_until() for box in self.boxes)
            left = min(too_late, expected_until) - time.monotonic_ns()
            if left <= 0:
                return
            self._changed.wait(left * 1e-9)
