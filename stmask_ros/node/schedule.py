"""When the frames of a source are due, on a steady clock. No ROS."""

from __future__ import annotations

import time
from threading import Event

SECOND = 1_000_000_000

# After a longer delay than this the frames that follow are not hurried to catch up.
_LONGEST_CATCH_UP_NS = SECOND // 5


class Schedule:
    """
    Waits until a frame is due.

    The rhythm is the source's, or a fixed rate; the passes of a loop follow each other in it.
    """

    def __init__(self, rate: float, stop: Event) -> None:
        """rate: frames a second, 0 for the source's own. stop: ends every waiting at once."""
        self._period_ns = round(SECOND / rate) if rate else 0
        self._stop = stop
        self._start_ns: int | None = None
        self._due_ns = 0
        self._step_ns = 0
        self._offset_ns = 0

    def next_pass(self) -> None:
        """Begin the source again: its first frame is due one step after its last."""
        self._offset_ns = -self._step_ns

    def wait(self, offset_ns: int) -> bool:
        """
        Wait until the frame at this time of the source is due [ns]; False if stopped.

        The first frame ever is due at once.
        """
        self._step_ns = self._period_ns or max(0, offset_ns - self._offset_ns)
        self._offset_ns = offset_ns
        now = time.monotonic_ns()
        if self._start_ns is None:
            self._start_ns = self._due_ns = now
        else:
            self._due_ns = max(self._due_ns + self._step_ns, now - _LONGEST_CATCH_UP_NS)
        return not self._stop.wait(max(0, self._due_ns - now) / SECOND)
