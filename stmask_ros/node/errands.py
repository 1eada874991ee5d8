# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What the worker does between two images: one errand after each step, so none waits for two."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from stmask_ros.node.parameters import Parameters
from stmask_ros.tracking.segmenter import VideoSegmenter

# Errands that wait at a time.
MOST_WAITING = 4


@dataclass(frozen=True)
class Errand:
    """
    Work for the worker's thread. Exactly one of the two is called, once; neither may raise.

    run: with the segmenter of that moment and the parameters in force. abandon: with the reason.
    """

    run: Callable[[VideoSegmenter, Parameters], None]
    abandon: Callable[[str], None]


class Errands:
    """A queue of at most MOST_WAITING errands; any thread may add one."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """Start closed. wake: called when one was added, to wake the worker."""
        self._wake = wake
        self._lock = threading.Lock()
        self._waiting: deque[Errand] = deque()
        self._open = False

    def open(self) -> None:
        """Take errands from now on."""
        with self._lock:
            self._open = True

    def close(self, reason: str) -> None:
        """Take none any more, and abandon those that wait."""
        with self._lock:
            self._open = False
            abandoned = list(self._waiting)
            self._waiting.clear()
        for errand in abandoned:
            errand.abandon(reason)

    def add(self, errand: Errand, most: int = MOST_WAITING) -> str:
        """
        Let an errand wait for its turn; return why that is not possible, '' if it is.

        most: errands that may wait then.
        """
        with self._lock:
            if not self._open:
                return 'not active: no images are answered'
            if len(self._waiting) >= most:
                return f'{most} requests wait already: ask again later'
            self._waiting.append(errand)
        self._wake()
        return ''

    def run_next(self, segmenter: VideoSegmenter, parameters: Parameters) -> None:
        """Run the errand that has waited the longest, if there is one."""
        with self._lock:
            errand = self._waiting.popleft() if self._waiting else None
            more = bool(self._waiting)
        if more:  # the worker may sleep: it was woken once for all of them
            self._wake()
        if errand is not None:
            errand.run(segmenter, parameters)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)
