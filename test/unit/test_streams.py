# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Several streams through one segmenter: none can tell that the others are there."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from small_models import noise, small_segmenter
from test_segmenter import assert_same

from stmask_ros.families.state import StreamState
from stmask_ros.families.stmask.preprocess import Image
from stmask_ros.tracking.results import FrameResult
from stmask_ros.tracking.segmenter import VideoSegmenter
from stmask_ros.tracking.stream import (
    DuplicateImageError,
    Stream,
    StreamInput,
    StreamOutput,
    process_together,
)

FRAME = 33_000_000
SIZES = [(90, 128), (60, 80), (120, 160), (91, 127)]


def stream(segmenter: VideoSegmenter) -> Stream:
    return Stream(segmenter, itertools.count(1).__next__)


def frames(camera: int, count: int = 6) -> list[tuple[Image, int]]:
    """Return a camera's images and their stamps [ns]; camera 2 changes its size on the way."""
    height, width = SIZES[camera]
    return [
        (noise(10 * camera + t, height, width - 8 * (camera == 2 and t > 2)), (t + 1) * FRAME)
        for t in range(count)
    ]


def alone(camera: int) -> list[FrameResult]:
    """Return a camera's results with a segmenter of its own."""
    segmenter = small_segmenter()
    its = stream(segmenter)
    return [
        its.process(image, stamp, tracker=segmenter.tracker, max_gap=0.0).result
        for image, stamp in frames(camera)
    ]


@pytest.mark.parametrize('seed', [0, 1])
def test_four_interleaved_cameras_get_the_results_of_each_alone(seed: int) -> None:
    """In batches of any make-up, to the bit; one of the cameras changes its resolution."""
    segmenter = small_segmenter()
    streams = [stream(segmenter) for _ in SIZES]
    waiting = [iter(frames(camera)) for camera in range(4)]
    results: list[list[FrameResult]] = [[] for _ in SIZES]
    choice = np.random.default_rng(seed)
    while any(len(done) < 6 for done in results):
        open_ = [camera for camera in range(4) if len(results[camera]) < 6]
        batch = choice.permutation(open_)[:choice.integers(1, len(open_) + 1)].tolist()
        inputs = [streams[camera].admit(*next(waiting[camera]), 0.0) for camera in batch]
        outcomes = process_together(segmenter, inputs, segmenter.tracker)
        for camera, outcome in zip(batch, outcomes, strict=True):
            assert isinstance(outcome, StreamOutput)
            results[camera].append(outcome.result)
    assert [result.epoch for result in results[2]] == [1, 1, 1, 2, 2, 2]
    for camera in range(4):
        for result, expected in zip(results[camera], alone(camera), strict=True):
            assert_same(result, expected)
        assert any(len(result) for result in results[camera])


class Failing(VideoSegmenter):
    """A segmenter that cannot step certain images, nor more than so many at once."""

    poison: Image | None = None
    most: int = 99

    def step(self, images: Any, *others: Any, **named: Any) -> Any:
        if len(images) > self.most:
            raise MemoryError('too many')
        if any(image is self.poison for image in images):
            raise RuntimeError('this one')
        return super().step(images, *others, **named)


def failing() -> Failing:
    segmenter = small_segmenter()
    segmenter.__class__ = Failing
    assert isinstance(segmenter, Failing)
    return segmenter


def admitted(segmenter: VideoSegmenter) -> list[StreamInput]:
    return [stream(segmenter).admit(noise(t), FRAME, 0.0) for t in range(3)]


def test_an_image_that_cannot_be_stepped_costs_itself_alone() -> None:
    segmenter = failing()
    inputs = admitted(segmenter)
    segmenter.poison = inputs[1].image
    first, second, third = process_together(segmenter, inputs, segmenter.tracker)
    assert isinstance(first, StreamOutput)
    assert isinstance(second, RuntimeError)
    assert isinstance(third, StreamOutput)
    segmenter.poison = None
    again = inputs[1].stream.admit(noise(1), FRAME, 0.0)  # no duplicate: it left no trace
    (outcome,) = process_together(segmenter, [again], segmenter.tracker)
    assert isinstance(outcome, StreamOutput)
    assert (outcome.result.epoch, outcome.result.sequence) == (1, 1)


def test_a_batch_too_large_for_the_memory_is_stepped_one_by_one() -> None:
    segmenter = failing()
    segmenter.most = 1
    outcomes = process_together(segmenter, admitted(segmenter), segmenter.tracker)
    assert all(isinstance(outcome, StreamOutput) for outcome in outcomes)


def test_a_jump_in_time_restarts_its_own_stream_alone() -> None:
    segmenter = small_segmenter()
    streams = [stream(segmenter) for _ in range(2)]
    epochs = []
    for stamps in [(100 * FRAME, FRAME), (5 * FRAME, 2 * FRAME), (6 * FRAME, 3 * FRAME)]:
        inputs = [
            its.admit(noise(0), stamp, 0.0) for its, stamp in zip(streams, stamps, strict=True)
        ]
        outcomes = process_together(segmenter, inputs, segmenter.tracker)
        epochs.append([item.result.epoch for item in outcomes if isinstance(item, StreamOutput)])
    assert epochs == [[1, 1], [2, 1], [2, 1]]
    with pytest.raises(DuplicateImageError):
        streams[1].admit(noise(0), 3 * FRAME, 0.0)


def test_several_failures_in_a_row_restart_a_stream() -> None:
    segmenter = failing()
    its = stream(segmenter)
    states: list[StreamState] = []
    for number in range(4):
        image = noise(number)
        segmenter.poison = image
        item = its.admit(image, number * FRAME, 0.0)
        states.append(item.state)
        process_together(segmenter, [item], segmenter.tracker)
    assert [state.epoch for state in states] == [1, 1, 1, 2]
