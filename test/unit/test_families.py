# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What holds for every family of networks, on a small model with fresh weights of each."""

from __future__ import annotations

import io
import itertools
import pickle
from collections.abc import Iterator
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from family_models import MODELS, NAMES, add_toy, model_of
from small_models import noise

from stmask_ros.families import all as families
from stmask_ros.families.class_thresholds import OFF
from stmask_ros.families.errors import ModelError
from stmask_ros.families.family import TrackerOptions, TrackerSettings
from stmask_ros.families.frames import Image
from stmask_ros.families.state import StreamState
from stmask_ros.models.checkpoint import load_model
from stmask_ros.models.conversion import convert, recognise
from stmask_ros.models.verification import verify
from stmask_ros.tracking.look import Look, Region
from stmask_ros.tracking.results import FrameResult, TrackStatus
from stmask_ros.tracking.segmenter import InvalidImageError, VideoSegmenter, load_segmenter
from stmask_ros.tracking.stream import DuplicateImageError, Stream, process_together

CPU = torch.device('cpu')
LANDSCAPE, PORTRAIT = (90, 128), (128, 90)
BROKEN = 666


@pytest.fixture(autouse=True)
def _with_the_toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(families, 'FAMILIES', families.FAMILIES)
    add_toy()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=NAMES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def segmenter(family: str) -> VideoSegmenter:
    return load_segmenter(model_of(family))


def test_every_family_has_a_small_model() -> None:
    assert {path.stem for path in MODELS.glob('*.yaml')} == set(NAMES)


def seen(seed: int, size: tuple[int, int]) -> Image:
    return noise(seed, *size)


def assert_same(one: FrameResult, other: FrameResult) -> None:
    """Assert that two results are the same to the bit."""
    for field in fields(one):
        if field.name != 'masks':
            np.testing.assert_array_equal(
                getattr(one, field.name), getattr(other, field.name), field.name)
    for mask, theirs in zip(one.masks, other.masks, strict=True):
        assert (mask.x_offset, mask.y_offset) == (theirs.x_offset, theirs.y_offset)
        np.testing.assert_array_equal(mask.pixels, theirs.pixels)


def test_results_say_what_they_promise(segmenter: VideoSegmenter) -> None:
    """Ids ascend from 1 and never come back, boxes and masks lie in the image, classes exist."""
    state, ids, count = segmenter.initial_state(epoch=7), set(), 0
    for t in range(6):
        (result,), (state,) = segmenter.step([seen(t % 2, LANDSCAPE)], [state], [10 * t + 5])
        assert (result.epoch, result.sequence) == (7, t + 1)
        assert result.temporal_valid == (t > 0)
        assert (np.diff(result.track_ids) > 0).all()
        assert not ids & set(result.track_ids[result.ages == 1])
        ids |= set(result.track_ids)
        assert max(ids, default=0) < state.next_id
        assert set(result.class_ids) <= set(range(1, len(segmenter.class_names) + 1))
        assert ((result.scores >= 0) & (result.scores <= 1)).all()
        assert (result.boxes[:, :2] <= result.boxes[:, 2:]).all()
        assert (result.boxes.max(initial=0) <= 128) and (result.boxes.min(initial=0) >= 0)
        for mask, status in zip(result.masks, result.statuses, strict=True):
            assert mask.area == 0 or status != TrackStatus.TERMINATED
            assert mask.x_offset + mask.width <= 128 and mask.y_offset + mask.height <= 90
        assert (result.last_detected <= 10 * t + 5).all()
        count += len(result)
    assert count


def test_cameras_together_are_each_alone(segmenter: VideoSegmenter) -> None:
    """To the bit, on a CPU, whatever sizes and shapes the others have."""
    sizes = (LANDSCAPE, PORTRAIT, (45, 128), LANDSCAPE)
    alone = [segmenter.initial_state(n) for n in range(len(sizes))]
    together = list(alone)
    for t in range(4):
        images = [seen(10 * n + t % 3, size) for n, size in enumerate(sizes)]
        results, together = segmenter.step(images, together)
        for n, image in enumerate(images):
            (expected,), (alone[n],) = segmenter.step([image], [alone[n]])
            assert_same(results[n], expected)


def test_batches_show_what_frames_alone_do(family: str) -> None:
    """Computed as on a device, in batches by padded size: the same tracks."""
    model = load_model(model_of(family))
    alone = VideoSegmenter(model, CPU, model.tracker())
    batched = VideoSegmenter(model, CPU, model.tracker(), in_batches=True)
    sizes = (LANDSCAPE, PORTRAIT, LANDSCAPE)
    states = others = [alone.initial_state(n) for n in range(3)]
    for t in range(3):
        images = [seen(10 * n + t % 2, size) for n, size in enumerate(sizes)]
        results, states = alone.step(images, states)
        theirs, others = batched.step(images, others)
        for one, other in zip(results, theirs, strict=True):
            np.testing.assert_array_equal(one.track_ids, other.track_ids)
            np.testing.assert_array_equal(one.class_ids, other.class_ids)
            np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)


def test_a_state_is_a_value(segmenter: VideoSegmenter) -> None:
    """A step leaves the state as it is: the same step again is the same result."""
    _, (state,) = segmenter.step([seen(1, LANDSCAPE)], [segmenter.initial_state()])
    before = _pickled(state)
    (first,), (one,) = segmenter.step([seen(2, LANDSCAPE)], [state])
    (again,), (other,) = segmenter.step([seen(2, LANDSCAPE)], [state])
    assert _pickled(state) == before
    assert_same(first, again)
    (first,), _ = segmenter.step([seen(3, LANDSCAPE)], [one])
    (again,), _ = segmenter.step([seen(3, LANDSCAPE)], [other])
    assert_same(first, again)


@pytest.mark.parametrize('image', [
    np.zeros((90, 128), np.uint8), np.zeros((90, 128, 4), np.uint8),
    np.zeros((90, 128, 3), np.float32), np.zeros((0, 128, 3), np.uint8), None,
], ids=['grey', 'four channels', 'float', 'empty', 'none'])
def test_a_bad_image_is_refused_and_costs_nothing(
    segmenter: VideoSegmenter, image: Image
) -> None:
    _, (state,) = segmenter.step([seen(1, LANDSCAPE)], [segmenter.initial_state()])
    (expected,), _ = segmenter.step([seen(2, LANDSCAPE)], [state])
    with pytest.raises(InvalidImageError, match='expected'):
        segmenter.step([seen(2, LANDSCAPE), image], [state, state])
    (result,), _ = segmenter.step([seen(2, LANDSCAPE)], [state])
    assert_same(result, expected)


def test_a_step_that_fails_costs_its_image_alone(
    segmenter: VideoSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two cameras in one step, the other is answered, and both go on."""
    epochs = itertools.count(1).__next__
    streams = [Stream(segmenter, epochs) for _ in range(2)]
    step = segmenter.stepper.step

    def faulty(frames, tracker):
        if any(frame.stamp == BROKEN for frame in frames):
            raise RuntimeError('an injected failure')
        return step(frames, tracker)

    monkeypatch.setattr(segmenter.stepper, 'step', faulty)
    sequences = []
    for stamps in ((1, 2), (BROKEN, 3), (4, 5)):
        inputs = [s.admit(seen(t, LANDSCAPE), t, 0.0)
                  for s, t in zip(streams, stamps, strict=True)]
        outcomes = process_together(segmenter, inputs, segmenter.tracker)
        sequences.append([
            0 if isinstance(outcome, Exception) else outcome.result.sequence
            for outcome in outcomes
        ])
    assert sequences == [[1, 1], [0, 2], [2, 3]]


def test_time_and_size_decide_where_an_epoch_begins(segmenter: VideoSegmenter) -> None:
    """A repeated stamp is refused; time going back, a pause and another size begin anew."""
    stream = Stream(segmenter, itertools.count(1).__next__)
    events = [
        (10, LANDSCAPE, (1, 1)), (11, LANDSCAPE, (1, 2)), (11, LANDSCAPE, None),
        (12, LANDSCAPE, (1, 3)), (5, LANDSCAPE, (2, 1)), (6, PORTRAIT, (3, 1)),
        (7, PORTRAIT, (3, 2)), (60, PORTRAIT, (4, 1)),
    ]
    for second, size, expected in events:
        def process(second: int = second, size: tuple[int, int] = size) -> FrameResult:
            return stream.process(
                seen(second, size), second * 10**9, tracker=segmenter.tracker, max_gap=10.0
            ).result

        if expected is None:
            with pytest.raises(DuplicateImageError):
                process()
            continue
        result = process()
        assert (result.epoch, result.sequence) == expected
        if result.sequence == 1:
            (fresh,), _ = segmenter.step(
                [seen(second, size)], [segmenter.initial_state(result.epoch)], [second * 10**9])
            assert_same(result, fresh)


@pytest.mark.parametrize('size', [(1, 1), (2, 300), (300, 2), (33, 65)])
def test_images_of_any_size(segmenter: VideoSegmenter, size: tuple[int, int]) -> None:
    state = segmenter.initial_state()
    for t in range(2):
        (result,), (state,) = segmenter.step([seen(t, size)], [state])
        assert (result.image_height, result.image_width) == size
        assert all(mask.y_offset + mask.height <= size[0] for mask in result.masks)


def test_a_smaller_version_of_a_frame_is_told_in_the_frames_pixels(
    segmenter: VideoSegmenter,
) -> None:
    small, large = segmenter.initial_state(), segmenter.initial_state()
    (one,), _ = segmenter.step([seen(1, LANDSCAPE)], [small])
    (other,), _ = segmenter.step([seen(1, LANDSCAPE)], [large], sizes=[(180, 256)])
    assert (other.image_height, other.image_width) == (180, 256)
    np.testing.assert_array_equal(one.track_ids, other.track_ids)
    np.testing.assert_allclose(2 * one.boxes, other.boxes, atol=3)


def test_the_options_that_all_trackers_share(family: str) -> None:
    images = [seen(t, LANDSCAPE) for t in range(4)]

    def shown(**settings: object) -> int:
        segmenter = load_segmenter(model_of(family), tracker=TrackerSettings(**settings))
        state, most = segmenter.initial_state(), 0
        for image in images:
            (result,), (state,) = segmenter.step([image], [state])
            most = max(most, int((result.statuses != TrackStatus.TERMINATED).sum()))
        return most

    assert shown(score_threshold=1.0) == 0
    assert shown(score_threshold=0.0) > 0
    assert shown(score_threshold=0.0, capacity=1) <= 1
    for wrong in ({'score_threshold': 2.0}, {'confirm_hits': 0}, {'capacity': 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            shown(**wrong)


def test_a_stream_of_turnover_stays_bounded(family: str, long: bool) -> None:
    """Objects come and go; neither the state nor what lies behind its tensors grows. --long."""
    segmenter = load_segmenter(
        model_of(family), tracker=TrackerSettings(score_threshold=0.0, max_missed=1, capacity=6)
    )
    state, sizes = segmenter.initial_state(), []
    for t in range(20_000 if long else 40):
        _, (state,) = segmenter.step([seen(t, LANDSCAPE)], [state])
        sizes.append(len(_pickled(state)))
    assert max(sizes[20:]) <= 1.2 * max(sizes[:20])


def test_tensors_tell_their_family(family: str) -> None:
    """And no other takes them. The small model's own have options that tensors do not tell."""
    model = load_model(model_of(family))
    with torch.device('meta'):
        network = model.family.build(replace(model.description, options={}).config())
    found, recognised = recognise(network.state_dict())
    assert found.name == family
    assert recognised.num_classes == len(model.description.classes)
    verify(model.family, model.network)


def test_fresh_weights_converted(tmp_path) -> None:
    """The toy's checkpoint, under its old names, becomes a model that loads."""
    model = load_model(model_of('toy'))
    saved = {
        f'module.{key}'.replace('heat', 'hot'): value
        for key, value in model.network.state_dict().items()
    }
    torch.save({'state_dict': saved, 'epoch': 3}, tmp_path / 'theirs.pth')
    description = convert(
        tmp_path / 'theirs.pth', tmp_path / 'ours.safetensors', classes='a,b,c,d')
    assert (description.family, description.configuration) == ('toy', 'toy')
    loaded = load_model(tmp_path / 'ours.yaml')
    for key, value in loaded.network.state_dict().items():
        assert torch.equal(value, model.network.state_dict()[key])


def test_options_of_the_tracker_come_from_the_models_file(tmp_path) -> None:
    text = model_of('toy').read_text()
    (tmp_path / 'mine.yaml').write_text(text + 'tracker: {max_missed: 7}\n')
    assert load_segmenter(tmp_path / 'mine.yaml').tracker.max_missed == 7
    chosen = load_segmenter(tmp_path / 'mine.yaml', tracker=TrackerSettings(max_missed=1))
    assert chosen.tracker.max_missed == 1
    (tmp_path / 'mine.yaml').write_text(text + 'tracker: {max_mist: 7}\n')
    with pytest.raises(ModelError, match=r'max_mist.*known: .*max_missed'):
        load_segmenter(tmp_path / 'mine.yaml')


def test_a_family_that_does_not_exist(tmp_path) -> None:
    text = model_of('toy').read_text().replace('family: toy', 'family: toi')
    (tmp_path / 'mine.yaml').write_text(text)
    with pytest.raises(ModelError, match=r"'toi' is unknown; known: stmask.*toy"):
        load_segmenter(tmp_path / 'mine.yaml')


def _pickled(state: StreamState) -> bytes:
    # With all that lies behind a view of a tensor.
    file = io.BytesIO()
    torch.save(state, file, pickle_module=pickle)
    return file.getvalue()


def _run(
    segmenter: VideoSegmenter, state: StreamState, seeds: range, tracker: TrackerOptions
) -> tuple[list[FrameResult], StreamState]:
    segmenter.tracker = tracker
    results = []
    for seed in seeds:
        (result,), (state,) = segmenter.step([seen(seed, LANDSCAPE)], [state], [seed + 1])
        results.append(result)
    return results, state


@pytest.mark.parametrize('in_batches', [False, True])
def test_a_class_that_is_switched_off_ends_its_tracks(family: str, in_batches: bool) -> None:
    """In the next frame, once; the others stay who they are, and ids never come back."""
    model = load_model(model_of(family))
    settings = TrackerSettings(score_threshold=0.0, max_missed=3)
    everything = model.tracker(settings)
    segmenter = VideoSegmenter(model, CPU, everything, in_batches)
    (*_, before), state = _run(segmenter, segmenter.initial_state(), range(3), everything)
    alive = before.statuses != TrackStatus.TERMINATED
    off = int(np.bincount(before.class_ids[alive]).argmax())
    number = len(model.description.classes)
    thresholds = tuple(OFF if n == off else 0.0 for n in range(1, number + 1))
    without = model.tracker(replace(settings, class_thresholds=thresholds))
    (first, *later), state = _run(segmenter, state, range(3, 6), without)
    left = set(before.track_ids[alive & (before.class_ids == off)].tolist())
    ended = first.track_ids[first.statuses == TrackStatus.TERMINATED].tolist()
    assert left
    assert left <= {*ended}
    for result in (first, *later):
        assert off not in result.class_ids[result.statuses != TrackStatus.TERMINATED]
    assert not {*ended} & {number for result in later for number in result.track_ids.tolist()}
    (again, *_), state = _run(segmenter, state, range(6, 8), everything)
    assert not {*ended} & {*again.track_ids.tolist()}


def test_thresholds_of_all_classes_are_as_one(family: str) -> None:
    model = load_model(model_of(family))
    for threshold in (0.0, 0.3):
        settings = TrackerSettings(score_threshold=threshold)
        thresholds = (threshold,) * len(model.description.classes)
        one = model.tracker(settings)
        each = model.tracker(replace(settings, class_thresholds=thresholds))
        segmenter = VideoSegmenter(model, CPU, one)
        for a, b in zip(
            _run(segmenter, segmenter.initial_state(), range(4), one)[0],
            _run(segmenter, segmenter.initial_state(), range(4), each)[0], strict=True,
        ):
            assert_same(a, b)


def test_a_crop_is_the_part_of_the_image_alone(family: str) -> None:
    """Whatever the family: ids, scores, boxes and masks are those of the part, moved there."""
    segmenter = load_segmenter(model_of(family), tracker=TrackerSettings(score_threshold=0.0))
    view = Look(Region.parsed('32 20 112 80'), crop=True).at(LANDSCAPE)
    inside, apart = segmenter.initial_state(), segmenter.initial_state()
    for t in range(3):
        image = seen(t, LANDSCAPE)
        (ours,), (inside,) = segmenter.step([image], [inside], views=[view])
        (alone,), (apart,) = segmenter.step(
            [np.ascontiguousarray(image[20:80, 32:112])], [apart])
        assert (ours.image_height, ours.image_width) == LANDSCAPE
        rows = np.flatnonzero(np.isin(alone.track_ids, ours.track_ids))
        np.testing.assert_array_equal(alone.track_ids[rows], ours.track_ids)
        np.testing.assert_array_equal(alone.scores[rows], ours.scores)
        np.testing.assert_allclose(ours.boxes, alone.boxes[rows] + (32, 20, 32, 20), atol=1e-4)
        shown = [mask for mask in ours.masks if mask.pixels.size]
        assert shown
        for mask, row in zip(ours.masks, rows, strict=True):
            part = alone.masks[row]
            np.testing.assert_array_equal(mask.pixels, part.pixels)
            if part.pixels.size:
                assert (mask.x_offset, mask.y_offset) == (part.x_offset + 32, part.y_offset + 20)


def test_nothing_is_reported_outside_of_a_region_and_ids_stay(family: str) -> None:
    segmenter = load_segmenter(model_of(family), tracker=TrackerSettings(score_threshold=0.0))
    left = Look(Region.parsed('0 0 64 90')).at(LANDSCAPE)
    state = whole = segmenter.initial_state()
    for t in range(4):
        image = seen(t, LANDSCAPE)
        (result,), (state,) = segmenter.step([image], [state], views=[left])
        (everywhere,), (whole,) = segmenter.step([image], [whole])
        assert all(mask.x_offset + mask.width <= 64 for mask in result.masks)
        assert set(result.track_ids.tolist()) <= set(everywhere.track_ids.tolist())
    assert len(result)
