"""One image stream: the state between steps, and when it starts afresh. No ROS, no threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stmask_ros.tracking.results import FrameResult
from stmask_ros.tracking.segmenter import VideoSegmenter
from stmask_ros.tracking.time_guard import LastImage, Verdict, judge
from stmask_ros.tracking.tracks import TrackerConfig

_FAILURES_BEFORE_RESET = 3


class DuplicateImageError(Exception):
    """The image's stamp was processed already."""


@dataclass(frozen=True)
class StreamOutput:
    """
    A processed image.

    interruption: why the image before it was not continued; empty if it was, and after a reset.
    """

    result: FrameResult
    interruption: str


class Stream:
    """Feeds the images of one camera to a segmenter, in the epoch they belong to."""

    def __init__(self, segmenter: VideoSegmenter, next_epoch: Callable[[], int]) -> None:
        """
        Start in a new epoch.

        next_epoch: returns an epoch higher than all it returned before.
        """
        self._segmenter = segmenter
        self._next_epoch = next_epoch
        self._reset = threading.Event()
        self._failures = 0
        self._last = LastImage()
        self._state = segmenter.initial_state(next_epoch())

    @property
    def epoch(self) -> int:
        """The epoch of the image processed last, or of the one to come."""
        return self._state.epoch

    def reset(self) -> None:
        """Let the next image start a new epoch. Any thread may call it."""
        self._reset.set()

    def process(
        self, image: npt.NDArray[np.uint8], stamp: int, *, tracker: TrackerConfig, max_gap: float
    ) -> StreamOutput:
        """
        Segment and track one BGR image uint8 [H, W, 3].

        stamp: of the image [ns], 0 if it has none.
        tracker: rules in force from this image on. max_gap: see time_guard.judge().
        Raises DuplicateImageError if its stamp was processed already, and whatever the segmenter
        raises. A failed image leaves no trace, except that several in a row start a new epoch.
        """
        if self._reset.is_set():
            self._reset.clear()
            self._start_afresh()
        judgement = judge(self._last, stamp, image.shape[0], image.shape[1], max_gap)
        if judgement.verdict is Verdict.DUPLICATE:
            raise DuplicateImageError(judgement.reason)
        if judgement.verdict is Verdict.NEW_EPOCH:
            self._start_afresh()
        self._segmenter.tracker = tracker
        try:
            results, states = self._segmenter.step([image], [self._state], [stamp])
        except Exception:
            self._count_failure()
            raise
        self._failures = 0
        self._last, self._state = judgement.last, states[0]
        return StreamOutput(results[0], judgement.reason)

    def _start_afresh(self) -> None:
        self._last = LastImage()
        self._state = self._segmenter.initial_state(self._next_epoch())

    def _count_failure(self) -> None:
        # A state that every step fails on would never let go: give it up.
        self._failures += 1
        if self._failures % _FAILURES_BEFORE_RESET == 0:
            self.reset()
