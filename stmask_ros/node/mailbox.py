"""A mailbox of one: the newest image wins, and every image that loses is counted."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

Message = TypeVar('Message')

REPLACED = 'replaced by a newer image'


@dataclass(frozen=True)
class Letter(Generic[Message]):
    """
    A message taken out of the mailbox.

    received_ns: when it arrived [ns, steady clock].
    skipped: messages between this one and the one last finished, all dropped.
    """

    message: Message
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


class Mailbox(Generic[Message]):
    """
    The one-message slot between a subscription and a worker thread.

    Every letter that take() returns must be handed back by exactly one finish() or drop().
    """

    def __init__(self) -> None:
        """Start open and empty, with all counts at zero."""
        self._changed = threading.Condition()
        self._waiting: tuple[Message, int] | None = None
        self._open = True
        self._received = 0
        self._processed = 0
        self._in_flight = 0
        self._dropped: Counter[str] = Counter()
        self._dropped_before_taken = 0
        self._dropped_before_finished = 0

    def put(self, message: Message, received_ns: int) -> None:
        """Leave a message for the worker; one that still waits is dropped as REPLACED."""
        with self._changed:
            self._received += 1
            self._drop_waiting(REPLACED)
            self._waiting = (message, received_ns)
            self._changed.notify()

    def refuse(self, reason: str) -> None:
        """Count a message that arrived and is dropped at once, with the one that waits."""
        with self._changed:
            self._received += 1
            self._dropped[reason] += 1
            self._drop_waiting(reason)

    def take(self) -> Letter[Message] | None:
        """Wait for a message and return it; None once the mailbox is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is not None or not self._open)
            if self._waiting is None or not self._open:
                return None
            message, received_ns = self._waiting
            self._waiting = None
            self._in_flight += 1
            self._dropped_before_taken = self._dropped.total()
            skipped = self._dropped_before_taken - self._dropped_before_finished
            return Letter(message, received_ns, skipped)

    def finish(self) -> None:
        """Count the letter taken last as processed."""
        with self._changed:
            self._in_flight -= 1
            self._processed += 1
            self._dropped_before_finished = self._dropped_before_taken

    def drop(self, reason: str) -> None:
        """Count the letter taken last as dropped."""
        with self._changed:
            self._in_flight -= 1
            self._dropped[reason] += 1

    def close(self, reason: str) -> None:
        """Drop what waits, and let take() return None from now on."""
        with self._changed:
            self._open = False
            self._drop_waiting(reason)
            self._changed.notify_all()

    def open(self) -> None:
        """Accept messages again after close()."""
        with self._changed:
            self._open = True

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

    def _drop_waiting(self, reason: str) -> None:
        if self._waiting is not None:
            self._dropped[reason] += 1
            self._waiting = None
