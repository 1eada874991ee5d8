# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Frames computed together in padded tables, as on a device: the same results as each alone."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from small_models import noise, small_model

from stmask_ros.families.state import StreamState
from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.families.stmask.masks import region_mask, whole_masks
from stmask_ros.families.stmask.tracks import TrackerConfig
from stmask_ros.layers.captured import CapturingStep
from stmask_ros.tracking.results import FrameResult
from stmask_ros.tracking.segmenter import (
    ModelError,
    Precision,
    VideoSegmenter,
    load_segmenter,
)

CPU = torch.device('cpu')
INTEGERS = (
    'track_ids', 'statuses', 'sources', 'class_ids', 'ages', 'hits', 'missed', 'first_seen',
    'last_detected',
)
TRACKERS: list[dict[str, Any]] = [
    {},
    {'capacity': 5},
    {'retirement': 'never', 'max_missed': 2},
    {'nms': 'per_class', 'max_detections': 7},
    {'matching': 'paper', 'max_missed': 1, 'score_threshold': 0.3},
    {'birth_threshold': 0.47},
    {'nms': 'greedy'},
    {'nms': 'best_class', 'class_memory': 0.9, 'class_penalty': 1.0},
    {'search_margin': 1.0, 'birth_threshold': 0.1, 'weak_overlap': 0.3},
]


def assert_alike(alone: FrameResult, together: FrameResult) -> None:
    """Assert equal tracks; numbers to rounding."""
    for name in INTEGERS:
        np.testing.assert_array_equal(getattr(alone, name), getattr(together, name), name)
    np.testing.assert_allclose(alone.boxes, together.boxes, atol=2e-2)
    np.testing.assert_allclose(alone.scores, together.scores, atol=1e-5)
    for mask, other in zip(alone.masks, together.masks, strict=True):
        assert abs(mask.area - other.area) <= max(3, 0.005 * mask.area)


@pytest.mark.parametrize('config', [
    'stmask_lite', 'stmask_lite_distances', 'STMask_resnet50', 'STMask_plus_resnet50_ada',
])
@pytest.mark.parametrize('tracker', TRACKERS, ids=str)
def test_two_streams_in_padded_tables(config: str, tracker: dict[str, Any]) -> None:
    """One that begins later, too."""
    model = small_model(STMaskConfig.named(config))
    alone = VideoSegmenter(model, CPU, TrackerConfig(**tracker))
    together = VideoSegmenter(model, CPU, TrackerConfig(**tracker), in_batches=True)
    expected = [alone.initial_state(), alone.initial_state(epoch=7)]
    states = [together.initial_state(), together.initial_state(epoch=7)]
    shown = 0
    for t in range(6):
        if t == 2:
            expected[1], states[1] = alone.initial_state(8), together.initial_state(8)
        # Nothing is found in an even image, so tracks go on without a detection as well.
        images = [noise(t % 3), np.full((60, 80, 3), 90, np.uint8) if t == 4 else noise(9 + t)]
        wanted, expected = alone.step(images, expected)
        results, states = together.step(images, states)
        for one, other in zip(wanted, results, strict=True):
            assert_alike(one, other)
            shown += len(one)
        for state, other_state in zip(expected, states, strict=True):
            assert state.next_id == other_state.next_id
            assert_same_tracks(state, other_state)
    assert shown


def assert_same_tracks(alone: StreamState, together: StreamState) -> None:
    """Assert that a state remembers the same tracks, and none that is only padding."""
    for field in fields(alone.memory.tracks):
        torch.testing.assert_close(
            getattr(alone.memory.tracks, field.name), getattr(together.memory.tracks, field.name),
            rtol=1e-4, atol=1e-4, msg=field.name,
        )


@pytest.mark.skipif(torch.cuda.is_available(), reason='recording succeeds where there is CUDA')
def test_a_step_that_cannot_be_recorded_is_computed(caplog: pytest.LogCaptureFixture) -> None:
    """And tried once only."""
    model, tracker = small_model(), TrackerConfig()
    segmenter = VideoSegmenter(model, CPU, tracker, in_batches=True)
    recording = VideoSegmenter(model, CPU, tracker, in_batches=True)
    recording.stepper.compute_batch = CapturingStep(segmenter.stepper.compute)
    state = other = segmenter.initial_state()
    for t in range(3):
        (expected,), (state,) = segmenter.step([noise(t)], [state])
        (result,), (other,) = recording.step([noise(t)], [other])
        assert_alike(expected, result)
    assert [record.message.split(':')[0] for record in caplog.records] == [
        'the step cannot be recorded as a CUDA graph and runs without, slower'
    ]


def test_masks_scaled_as_a_whole_are_those_scaled_in_their_regions() -> None:
    generator = torch.Generator().manual_seed(0)
    soft = torch.rand(6, 23, 32, generator=generator)
    soft[0] = 0
    soft[1, :, 5:] = 0
    soft[2, 3:] = 0
    soft[3, :, :-1] = 0
    soft[4] = (soft[4] > 0.99).float()
    for height, width in ((90, 128), (37, 53), (1, 1), (11, 500)):
        whole = whole_masks(soft, height, width)
        for mask, one in zip(soft, whole, strict=True):
            expected = region_mask(mask.numpy(), height, width)
            assert (one.x_offset, one.y_offset) == (expected.x_offset, expected.y_offset)
            np.testing.assert_array_equal(one.pixels, expected.pixels)
    assert whole_masks(soft[:0], 4, 4) == []


def test_half_precision_is_refused_on_a_cpu() -> None:
    with pytest.raises(ModelError, match=r"'float16'.*use 'auto' or 'float32'"):
        load_segmenter('stmask_lite', 'cpu', precision='float16')


@pytest.mark.parametrize('precision', ['float16', 'bfloat16'])
@pytest.mark.parametrize('config', ['stmask_lite', 'STMask_plus_resnet50_ada'])
def test_half_precision_reaches_the_network_only(config: str, precision: Precision) -> None:
    """What a device would run, on the CPU: float32 boxes, close to those of float32 weights."""
    model = small_model(STMaskConfig.named(config))
    tracker = TrackerConfig(score_threshold=0.0)
    full = VideoSegmenter(model, CPU, tracker, in_batches=True)
    half = VideoSegmenter(model, CPU, tracker, in_batches=True, precision=precision)
    (_,), (state,) = half.step([noise(1)], [half.initial_state()])
    (_,), (state,) = half.step([noise(2)], [state])
    assert state.memory.features is not None
    assert state.memory.features.correlated.dtype == getattr(torch, precision)
    assert state.memory.tracks.boxes.dtype == state.memory.tracks.masks.dtype == torch.float32
    with torch.inference_mode():
        image = torch.randn(1, 3, 96, 128, generator=torch.Generator().manual_seed(0))
        expected, actual = full.network(image), half.network(image)
    step = torch.finfo(getattr(torch, precision)).eps
    assert actual.boxes.dtype == torch.float32
    # Layer by layer the roundings add up, with either sign.
    assert 0 < (actual.boxes - expected.boxes).abs().mean() < step
