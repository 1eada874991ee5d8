# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The segmenter on whatever a camera or a file may give it; its states are values."""

from __future__ import annotations

import threading
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from small_models import noise, small_model, small_segmenter

from stmask_ros.families.state import StreamState
from stmask_ros.families.stmask.tracks import TrackerConfig, TrackTable
from stmask_ros.layers.boxes import center_size
from stmask_ros.tracking.results import FrameResult, Source, TrackStatus
from stmask_ros.tracking.segmenter import (
    InvalidImageError,
    ModelError,
    VideoSegmenter,
    load_segmenter,
)


def run(segmenter: VideoSegmenter, count: int, first: int = 0) -> tuple[
    list[FrameResult], StreamState
]:
    """Step one stream through frames of noise."""
    state, results = segmenter.initial_state(), []
    for t in range(first, first + count):
        (result,), (state,) = segmenter.step([noise(t)], [state])
        results.append(result)
    return results, state


def assert_same(a: FrameResult, b: FrameResult) -> None:
    """Assert that every field of two results is equal, to the bit."""
    for field in fields(FrameResult):
        left, right = getattr(a, field.name), getattr(b, field.name)
        if field.name == 'masks':
            assert [m.x_offset for m in left] == [m.x_offset for m in right]
            assert all(
                np.array_equal(m.pixels, n.pixels) for m, n in zip(left, right, strict=True)
            )
        else:
            np.testing.assert_array_equal(left, right, err_msg=field.name)


def test_what_a_state_was_read_by_reads_it_for_one_more_release() -> None:
    _, state = run(small_segmenter(), 2)
    with pytest.warns(DeprecationWarning, match=r'read state\.memory\.tracks'):
        assert state.tracks is state.memory.tracks
    with pytest.warns(DeprecationWarning, match=r'read state\.memory\.features'):
        assert state.features is state.memory.features


def test_a_step_leaves_its_state_as_it_was() -> None:
    segmenter = small_segmenter()
    _, state = run(segmenter, 2)
    tracks = state.memory.tracks
    before = {f.name: getattr(tracks, f.name).clone() for f in fields(tracks)}
    (first,), (after,) = segmenter.step([noise(9)], [state])
    (again,), _ = segmenter.step([noise(9)], [state])
    assert_same(first, again)
    assert after.sequence == state.sequence + 1
    for name, value in before.items():
        assert torch.equal(getattr(state.memory.tracks, name), value), name


def test_a_batch_is_its_streams_side_by_side() -> None:
    segmenter = small_segmenter()
    (_, one), (_, other) = run(segmenter, 2), run(segmenter, 3, first=5)
    fresh = segmenter.initial_state(epoch=4)
    images, states = [noise(2), noise(8), noise(9)], [one, other, fresh]
    together, after = segmenter.step(images, states)
    for image, state, result, next_state in zip(images, states, together, after, strict=True):
        (alone,), (expected,) = segmenter.step([image], [state])
        assert_same(result, alone)
        assert result.epoch == state.epoch
        ours, theirs = next_state.memory.tracks, expected.memory.tracks
        for field in fields(TrackTable):
            assert torch.equal(getattr(ours, field.name), getattr(theirs, field.name)), field.name


@pytest.mark.parametrize('size', [(1, 1), (1, 500), (8000, 8000), (37, 53)])
def test_images_of_any_size(size: tuple[int, int]) -> None:
    segmenter = small_segmenter()
    image = np.broadcast_to(np.uint8([10, 120, 240]), (*size, 3))
    state = segmenter.initial_state()
    for _ in range(2):
        (result,), (state,) = segmenter.step([image], [state])
    assert (result.image_height, result.image_width) == size
    assert (result.boxes >= 0).all()
    assert (result.boxes <= (size[1], size[0], size[1], size[0])).all()
    for mask in result.masks:
        assert mask.to_full(*size).sum() == mask.area


@pytest.mark.parametrize(
    ('image', 'told'),
    [
        (np.zeros((8, 8), np.uint8), 'got uint8 [8, 8]'),
        (np.zeros((8, 8, 4), np.uint8), 'got uint8 [8, 8, 4]'),
        (np.zeros((8, 8, 3), np.float32), 'got float32 [8, 8, 3]'),
        (np.zeros((0, 8, 3), np.uint8), 'got uint8 [0, 8, 3]'),
        ([[1, 2, 3]], 'got list'),
    ],
)
def test_wrong_images_are_named(image: Any, told: str) -> None:
    segmenter = small_segmenter()
    states = [segmenter.initial_state()] * 2
    with pytest.raises(InvalidImageError, match=r'expected .*uint8') as caught:
        segmenter.step([noise(0), image], states)
    assert told in str(caught.value)
    segmenter.step([noise(0), noise(1)], states)


def test_images_states_stamps_and_sizes_must_be_as_many() -> None:
    segmenter = small_segmenter()
    states = [segmenter.initial_state()]
    with pytest.raises(ValueError, match='got 2, 1, 1'):
        segmenter.step([noise(0), noise(1)], states, [1])
    with pytest.raises(ValueError, match='got 1, 1, 1, 2'):
        segmenter.step([noise(0)], states, [1], [(90, 128)] * 2)
    with pytest.raises(ValueError, match=r'at least 1x1 pixel, got \[\(0, 128\)\]'):
        segmenter.step([noise(0)], states, sizes=[(0, 128)])
    assert segmenter.step([], []) == ([], [])


def test_a_smaller_version_is_answered_in_pixels_of_the_frame() -> None:
    segmenter = small_segmenter()
    small, states = noise(0), [segmenter.initial_state()]
    height, width = small.shape[:2]
    (alone,), _ = segmenter.step([small], states)
    (result,), _ = segmenter.step([small], states, sizes=[(3 * height, 2 * width)])
    assert (result.image_height, result.image_width) == (3 * height, 2 * width)
    assert len(result) == len(alone) > 0
    np.testing.assert_allclose(result.boxes, alone.boxes * (2, 3, 2, 3), rtol=1e-6)
    np.testing.assert_array_equal(result.scores, alone.scores)
    for mask, its in zip(result.masks, alone.masks, strict=True):
        assert mask.to_full(3 * height, 2 * width).sum() == mask.area
        assert mask.area == pytest.approx(6 * its.area, rel=0.1, abs=100)


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf'), 1e38])
@pytest.mark.parametrize(
    'part', ['backbone', 'proto_net', 'prediction_layers.0.bbox_layer', 'TemporalNet',
             'prediction_layers.0.track_layer', 'prediction_layers.0.mask_layer']
)
def test_weights_that_are_no_numbers(part: str, value: float) -> None:
    """Nothing is raised, and every result that comes is in range; nothing comes after NaN."""
    model = small_model()
    for parameter in model.network.get_submodule(part).parameters():
        parameter.fill_(value)
    segmenter = VideoSegmenter(model, torch.device('cpu'), TrackerConfig(capacity=8))
    results, state = run(segmenter, 4)
    assert len(state.memory.tracks) <= 8
    for result in results:
        assert np.isfinite(result.boxes).all()
        assert ((result.scores >= 0) & (result.scores <= 1)).all()
        for mask in result.masks:
            mask.to_full(90, 128)
    if part == 'backbone' and np.isnan(value):
        assert not any(len(result) for result in results)


def test_a_thousand_frames_without_detections() -> None:
    segmenter = small_segmenter()
    _, state = run(segmenter, 1)
    assert len(state.memory.tracks)
    segmenter.tracker = TrackerConfig(score_threshold=1.0)
    for t in range(1000):
        (result,), (state,) = segmenter.step([noise(t % 4)], [state])
        assert len(result) == 0 or t <= 10
    assert len(state.memory.tracks) == 0
    assert state.sequence == 1001


def test_the_strongest_are_kept_when_there_are_more_than_fit() -> None:
    _, everything = run(small_segmenter(capacity=1000), 1)
    _, few = run(small_segmenter(capacity=5), 1)
    scores = everything.memory.tracks.scores
    assert len(scores) > 5
    torch.testing.assert_close(few.memory.tracks.scores, scores.topk(5).values)
    _, state = run(small_segmenter(capacity=5), 20)
    assert len(state.memory.tracks) <= 5


def test_a_lost_track_coasts_ends_and_its_id_never_returns() -> None:
    segmenter = small_segmenter(max_missed=3, score_decay=1.0)
    (first,), state = run(segmenter, 1)
    seen = segmenter.tracker
    segmenter.tracker = replace(seen, score_threshold=1.0)
    statuses = []
    for _ in range(5):
        (result,), (state,) = segmenter.step([noise(0)], [state])
        statuses.append(set(result.statuses.tolist()))
        assert set(result.sources.tolist()) <= {int(Source.PROPAGATED)}
    assert statuses[3] == {int(TrackStatus.TERMINATED)}
    assert statuses[4] == set()
    segmenter.tracker = seen
    (later,), _ = segmenter.step([noise(0)], [state])
    assert len(later)
    assert later.track_ids.min() > first.track_ids.max()


def test_a_weak_detection_continues_a_track_and_starts_none() -> None:
    segmenter = small_segmenter()
    _, state = run(segmenter, 1)
    scores = state.memory.tracks.scores
    threshold = float(scores.median())
    _, strong = run(small_segmenter(birth_threshold=threshold), 1)
    torch.testing.assert_close(strong.memory.tracks.scores, scores[scores >= threshold])
    segmenter.tracker = TrackerConfig(birth_threshold=1.0)
    (result,), (after,) = segmenter.step([noise(0)], [state])
    assert after.next_id == state.next_id
    assert result.hits.max() == 2


def test_everything_is_remembered_without_retirement() -> None:
    segmenter = small_segmenter(retirement='never', max_missed=2)
    _, state = run(segmenter, 6)
    assert len(state.memory.tracks) == state.next_id - 1
    np.testing.assert_array_equal(state.memory.tracks.ids, np.arange(1, state.next_id))
    assert (state.memory.tracks.missed > 2).any()
    assert center_size(state.memory.tracks.boxes).isfinite().all()


def test_what_ends_leaves_its_place_in_the_same_frame() -> None:
    # No detection is like any track, so that all end at once and others begin.
    segmenter = small_segmenter(capacity=5, max_missed=0, new_track_score=100.0)
    _, first = run(segmenter, 1)
    (result,), (second,) = segmenter.step([noise(0)], [first])
    assert first.memory.tracks.ids.tolist() == [1, 2, 3, 4, 5]
    assert second.memory.tracks.ids.tolist() == [6, 7, 8, 9, 10]
    ended = result.statuses == int(TrackStatus.TERMINATED)
    assert set(result.track_ids[ended].tolist()) <= {1, 2, 3, 4, 5}
    assert ended.any()


def test_what_was_never_shown_does_not_end_in_public() -> None:
    segmenter = small_segmenter(max_missed=0, new_track_score=100.0, min_mask_area=10**6)
    results, state = run(segmenter, 3)
    assert state.next_id > 1
    assert [len(result) for result in results] == [0, 0, 0]


def test_each_that_was_shown_ends_in_public_once() -> None:
    segmenter = small_segmenter(max_missed=1, min_mask_area=60)
    state = segmenter.initial_state()
    shown: set[int] = set()
    ended: list[int] = []
    for t in range(12):
        (result,), (state,) = segmenter.step([noise(t)], [state])
        over = result.statuses == int(TrackStatus.TERMINATED)
        ended += result.track_ids[over].tolist()
        shown |= set(result.track_ids[~over].tolist())
    assert len(ended) == len(set(ended)) > 0
    assert set(ended) <= shown


@pytest.mark.parametrize('coasting_per_hit', [0.0, 0.5])
def test_a_track_that_coasts_too_long_is_hidden_and_remembered(coasting_per_hit: float) -> None:
    options: dict[str, Any] = {'max_missed': 4, 'nms_threshold': 0.3}
    everything, _ = run(small_segmenter(**options), 12)
    results, _ = run(small_segmenter(**options, coasting_per_hit=coasting_per_hit), 12)
    hidden = 0
    seen: set[int] = set()
    for whole, result in zip(everything, results, strict=True):
        ended = whole.statuses == int(TrackStatus.TERMINATED)
        vouched = whole.missed <= coasting_per_hit * whole.hits
        hidden += np.count_nonzero(~(vouched | ended))
        shown = np.where(ended, np.isin(whole.track_ids, list(seen)), vouched)
        assert_same(result, whole.rows(np.flatnonzero(shown).tolist()))
        seen.update(result.track_ids.tolist())
    assert hidden


@pytest.mark.parametrize(('device', 'told'), [
    ('meta', 'cannot run the networks'), ('mps', 'cannot run the networks'),
    ('xpu', 'cannot run the networks'), ('gpu', "device 'gpu' is unknown: use 'cpu'"),
    pytest.param(
        'cuda:1', "finds no CUDA; .*or set the device to 'cpu'",
        marks=pytest.mark.skipif(torch.cuda.is_available(), reason='there is a CUDA device')),
])
def test_a_device_that_cannot_run_it_is_refused(device: str, told: str) -> None:
    with pytest.raises(ModelError, match=told):
        load_segmenter('stmask_lite', device)


def test_steps_of_several_threads_follow_one_another() -> None:
    """A step that goes on after its node was deactivated shares no buffer with the next."""
    segmenter = small_segmenter()
    (expected,), _ = segmenter.step([noise(0)], [segmenter.initial_state()])
    busy, overlaps = threading.Lock(), []
    compute = segmenter.stepper.compute

    def watched(*arguments: Any) -> Any:
        overlaps.append(not busy.acquire(blocking=False))
        result = compute(*arguments)
        if not overlaps[-1]:
            busy.release()
        return result

    segmenter.stepper.compute = watched
    results: list[FrameResult] = []

    def steps() -> None:
        for _ in range(10):
            results.extend(segmenter.step([noise(0)], [segmenter.initial_state()])[0])

    threads = [threading.Thread(target=steps) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(overlaps) == 30
    assert not any(overlaps)
    for result in results:
        assert_same(result, expected)
