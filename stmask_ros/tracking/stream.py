# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Image streams: their states between steps, and when one starts afresh. No ROS, no threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stmask_ros.families.family import Appearance, TrackerOptions
from stmask_ros.families.state import StreamState
from stmask_ros.tracking.results import FrameResult
from stmask_ros.tracking.segmenter import VideoSegmenter
from stmask_ros.tracking.time_guard import Judgement, LastImage, Verdict, judge
from stmask_ros.tracking.view import View

_FAILURES_BEFORE_RESET = 3


class DuplicateImageError(Exception):
    """The image's stamp was processed already."""


@dataclass(frozen=True)
class StreamInput:
    """
    An image that its stream has admitted, ready for a step.

    image: uint8 BGR [H, W, 3]. view: where to look in its frame, with the frame's size. stamp: of
    the frame [ns], 0 if it has none. state: what it continues. judgement: on its stamp and view.
    """

    stream: Stream
    image: npt.NDArray[np.uint8]
    view: View
    stamp: int
    state: StreamState
    judgement: Judgement

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frame [pixel]."""
        return self.view.size


@dataclass(frozen=True)
class StreamOutput:
    """
    A processed image.

    interruption: why the image before it was not continued; empty if it was, and after a reset.
    """

    result: FrameResult
    interruption: str


class Stream:
    """The images of one camera, in the epochs they belong to."""

    def __init__(self, segmenter: VideoSegmenter, next_epoch: Callable[[], int]) -> None:
        """
        Start in a new epoch.

        segmenter: the one that will process the images.
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

    def scaled_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the size [pixel] at which the network sees an image of this size."""
        return self._segmenter.scaled_size(size)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the image processed last [pixel]; zeros before the first."""
        return self._last.height, self._last.width

    def adopt(self, segmenter: VideoSegmenter) -> None:
        """Start a new epoch with another segmenter; no image may be between admit() and a step."""
        self._segmenter = segmenter
        self._start_afresh()

    def appearance(self) -> Appearance | None:
        """Return the embeddings of the tracks after the image processed last, if there are any."""
        return self._segmenter.appearance(self._state)

    def reset(self) -> None:
        """Let the next image start a new epoch. Any thread may call it."""
        self._reset.set()

    def process(
        self, image: npt.NDArray[np.uint8], stamp: int, *, tracker: TrackerOptions, max_gap: float,
        size: tuple[int, int] | None = None, view: View | None = None,
    ) -> StreamOutput:
        """
        Admit one image and process it alone; see admit() and process_together().

        Raises DuplicateImageError, and whatever the segmenter raises.
        """
        admitted = self.admit(image, stamp, max_gap, size, view)
        (outcome,) = process_together(self._segmenter, [admitted], tracker)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def admit(
        self, image: npt.NDArray[np.uint8], stamp: int, max_gap: float,
        size: tuple[int, int] | None = None, view: View | None = None,
    ) -> StreamInput:
        """
        Take in one BGR image uint8 [H, W, 3], starting a new epoch where it begins one.

        stamp: of the image [ns], 0 if it has none. max_gap: see time_guard.judge(). size: height
        and width of the frame [pixel] that the image is a smaller version of, if it is one.
        view: where to look in it, instead of size. Raises DuplicateImageError if its stamp was
        processed already.
        """
        if self._reset.is_set():
            self._reset.clear()
            self._start_afresh()
        view = view or View.whole(size or (image.shape[0], image.shape[1]))
        judgement = judge(self._last, stamp, *view.size, max_gap, view.window)
        if judgement.verdict is Verdict.DUPLICATE:
            raise DuplicateImageError(judgement.reason)
        if judgement.verdict is Verdict.NEW_EPOCH:
            self._start_afresh()
        return StreamInput(self, image, view, stamp, self._state, judgement)

    def succeed(self, admitted: StreamInput, state: StreamState) -> None:
        """Go on from the state after an admitted image."""
        self._failures = 0
        self._last, self._state = admitted.judgement.last, state

    def fail(self) -> None:
        """Forget an admitted image that no step could process; several in a row are a reset."""
        # A state that every step fails on would never let go: give it up.
        self._failures += 1
        if self._failures % _FAILURES_BEFORE_RESET == 0:
            self.reset()

    def _start_afresh(self) -> None:
        self._last = LastImage()
        self._state = self._segmenter.initial_state(self._next_epoch())


def process_together(
    segmenter: VideoSegmenter, inputs: Sequence[StreamInput], tracker: TrackerOptions
) -> list[StreamOutput | Exception]:
    """
    Segment and track one image of each of several streams, in one step.

    tracker: rules in force from these images on.
    Returns for each image its result or, in its place, the exception that it alone leads to: if
    the step of all fails, each image gets one of its own. An image that failed leaves no trace.
    """
    segmenter.tracker = tracker
    try:
        return _step(segmenter, inputs)
    except Exception as error:
        if len(inputs) > 1:
            return [process_together(segmenter, [item], tracker)[0] for item in inputs]
        inputs[0].stream.fail()
        return [error]


def _step(
    segmenter: VideoSegmenter, inputs: Sequence[StreamInput]
) -> list[StreamOutput | Exception]:
    results, states = segmenter.step(
        [item.image for item in inputs],
        [item.state for item in inputs],
        [item.stamp for item in inputs],
        views=[item.view for item in inputs],
    )
    for item, state in zip(inputs, states, strict=True):
        item.stream.succeed(item, state)
    return [
        StreamOutput(result, item.judgement.reason)
        for item, result in zip(inputs, results, strict=True)
    ]
