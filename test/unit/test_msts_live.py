# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""MS-STS on a stream: the window, the slots that become tracks, and what is remembered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from small_models import noise
from small_msts import small_network

from stmask_ros.families.family import StepResult, StreamFrame
from stmask_ros.families.msts.association import associate, likeness, matched
from stmask_ros.families.msts.grid import Grid
from stmask_ros.families.msts.network import MSTS
from stmask_ros.families.msts.preprocess import normalised, resized
from stmask_ros.families.msts.slots import Slots, unsuppressed
from stmask_ros.families.msts.stepper import MSTSStepper
from stmask_ros.families.msts.tracks import StreamMemory, TrackerConfig, Tracks
from stmask_ros.families.msts.window import Window

CPU = torch.device('cpu')
FRAMES = [noise(seed) for seed in range(7)]


class Stream:
    """A stepper and the memory of one stream."""

    def __init__(self, network: MSTS, **tracker: Any) -> None:
        self.stepper = MSTSStepper(network, CPU)
        self.memory = self.stepper.initial_memory()
        self.next_id = 1
        self.tracker = TrackerConfig(**tracker)

    @torch.inference_mode()
    def step(self, image: np.ndarray, stamp: int = 0) -> StepResult[StreamMemory]:
        scaled = self.stepper.scaled(image)
        frame = StreamFrame(scaled, image.shape[:2], self.memory, self.next_id, stamp)
        (result,) = self.stepper.step([frame], self.tracker)
        self.memory, self.next_id = result.memory, self.next_id + result.born
        return result


@pytest.mark.parametrize('modules', [False, True])
@torch.inference_mode()
def test_a_cached_window_equals_the_whole_window(modules: bool) -> None:
    network = small_network(modules=modules)
    stream = Stream(network)
    for t, image in enumerate(FRAMES):
        small = [resized(frame[..., ::-1].copy(), 64) for frame in FRAMES[max(0, t - 2):t + 1]]
        grid = Grid.unpadded(small[0].shape[:2], network.config.channels, CPU)
        tokens = network.tokens(normalised(small))
        memory = network.memory(tokens[None], grid)
        whole = network.decoder(memory, grid)[-1]
        cached = Window.of(network, normalised(small[-1:]), stream.memory.frames, grid)
        torch.testing.assert_close(cached.output.logits, whole.logits, rtol=0, atol=1e-5)
        torch.testing.assert_close(cached.output.boxes, whole.boxes, rtol=0, atol=1e-5)
        features = network.mask_features(memory[0], grid)
        torch.testing.assert_close(cached.features, features, rtol=0, atol=1e-4)
        stream.step(image)


def test_the_paper_s_modules_relate_frames() -> None:
    # Else the test above could not fail for them.
    with torch.inference_mode():
        alone = Stream(small_network(modules=True)).step(FRAMES[1])
        stream = Stream(small_network(modules=True))
        stream.step(FRAMES[0])
        after = stream.step(FRAMES[1])
    assert not np.array_equal(alone.shown.scores, after.shown.scores)


@pytest.mark.parametrize('window', [1, 2, 3])
def test_memory_is_bounded(window: int) -> None:
    stream = Stream(small_network(window=window), capacity=5, birth_threshold=0)
    for stamp in range(3 * 7):
        stream.step(FRAMES[stamp % 7], stamp)
        memory = stream.memory
        assert len(memory.frames) == min(stamp + 1, window - 1)
        assert len(memory.tracks) <= 5
        assert memory.tracks.masks.shape[1] <= max(window - 1, 0)
        assert memory.tracks.known.shape == memory.tracks.masks.shape[:2]


def test_a_still_scene_keeps_its_ids() -> None:
    stream = Stream(small_network(), nms_threshold=1)
    ids = [stream.step(FRAMES[0], stamp).shown.ids.tolist() for stamp in range(6)]
    assert ids[3] and ids[3] == ids[4] == ids[5]


def test_another_size_starts_another_window() -> None:
    stream = Stream(small_network())
    stream.step(FRAMES[0])
    stream.step(noise(1, 40, 100))
    assert len(stream.memory.frames) == 1
    stream.step(noise(2, 40, 100))
    assert len(stream.memory.frames) == 2


@pytest.mark.parametrize('size', [(1, 1), (1, 300), (300, 1), (37, 53), (2000, 31)])
def test_any_size(size: tuple[int, int]) -> None:
    stream = Stream(small_network(), score_threshold=0, birth_threshold=0, nms_threshold=1)
    shown = stream.step(noise(0, *size)).shown
    assert len(shown.ids)
    for mask in shown.masks:
        assert mask.to_full(*size).shape == size


def slots(scores: list[float], boxes: list[int], frames: int = 3, window: int = 3) -> Slots:
    """Return slots whose masks are a column of their own in all frames."""
    masks = torch.zeros((len(scores), frames, 4, 8), dtype=torch.bool)
    embeddings = torch.zeros((len(scores), 8))
    for row, column in enumerate(boxes):
        masks[row, :, :, column] = True
        embeddings[row, column] = 1
    return Slots(
        np.array(scores, np.float32), np.ones(len(scores), np.int64),
        np.zeros((len(scores), 4), np.float32), embeddings, masks[:, -1].float(), masks, window,
    )


def after(*steps: Slots, config: TrackerConfig | None = None) -> list[Tracks]:
    """Return all tracks after each step."""
    config = config or TrackerConfig()
    tracks, next_id, said = Tracks.none(8, CPU), 1, []
    for stamp, step in enumerate(steps):
        association = associate(tracks, step, next_id, stamp, config)
        next_id += association.born
        tracks = association.remembered()
        said.append(tracks)
    return said


def test_tracks_keep_their_ids_when_slots_change_places() -> None:
    first, second, _ = after(
        slots([0.9, 0.8], [1, 5], frames=2), slots([0.9, 0.8], [5, 1]), slots([0.9], [5])
    )
    assert first.ids.tolist() == second.ids.tolist() == [1, 2]
    assert second.hits.tolist() == [2, 2]
    np.testing.assert_allclose(second.scores, [0.8, 0.9])


def test_one_slot_goes_to_one_track() -> None:
    # Two tracks that are alike, and one slot.
    tracks = after(slots([0.9, 0.9], [1, 1]))[0]
    association = associate(tracks, slots([0.8], [1]), 3, 1, TrackerConfig())
    assert sorted(association.rows.tolist()) == [-1, 0]
    assert association.born == 0


def test_weak_slots_continue_tracks_and_start_none() -> None:
    config = TrackerConfig(score_threshold=0.1, birth_threshold=0.5)
    first, second = after(slots([0.9], [1]), slots([0.2, 0.2], [1, 5]), config=config)
    assert first.ids.tolist() == second.ids.tolist() == [1]
    assert second.missed.tolist() == [0]


@pytest.mark.parametrize(('gap', 'same'), [(2, True), (4, False)])
def test_missed_tracks_come_back_for_a_while(gap: int, same: bool) -> None:
    nothing = slots([], [])
    config = TrackerConfig(max_missed=3)
    *_, last = after(
        slots([0.9], [1]), *[nothing] * gap, slots([0.9], [1]), config=config
    )
    assert last.ids.tolist() == ([1] if same else [2])


def test_capacity_is_for_the_newest() -> None:
    # Those missed longest make place; new ones beyond the capacity get no id.
    config = TrackerConfig(capacity=2)
    _, second, third = after(
        slots([0.9, 0.8], [1, 2]), slots([0.9], [2]), slots([0.9, 0.8, 0.7], [2, 5, 6]),
        config=config,
    )
    assert second.ids.tolist() == [1, 2]
    assert third.ids.tolist() == [2, 3]


def test_ended_tracks_are_told_once() -> None:
    tracks = after(slots([0.9], [1]))[0]
    association = associate(tracks, slots([], []), 2, 1, TrackerConfig(max_missed=0))
    assert association.ended.tolist() == [True]
    assert len(association.remembered()) == 0


def test_masks_count_where_both_windows_look() -> None:
    tracks = after(slots([0.9], [1]))[0]
    moved = slots([0.9, 0.9], [1, 5])
    embeddings = moved.embeddings.clone()
    embeddings[:] = tracks.embeddings[0]  # alike: only the masks tell
    score = likeness(tracks, replace(moved, embeddings=embeddings))
    torch.testing.assert_close(score, torch.tensor([[1.0, 0.5]]))
    elsewhere = replace(tracks, known=torch.zeros_like(tracks.known))
    score = likeness(elsewhere, replace(moved, embeddings=embeddings))
    torch.testing.assert_close(score, torch.tensor([[1.0, 1.0]]))


def test_matching_is_best_in_all() -> None:
    likes = np.array([[0.9, 0.8], [0.85, 0.1]])
    assert matched(likes, 0.5).tolist() == [1, 0]
    assert matched(likes, 0.82).tolist() == [0, -1]
    assert matched(np.zeros((2, 0)), 0.5).tolist() == [-1, -1]


def test_suppression_spares_what_only_the_suppressed_overlap() -> None:
    masks = torch.zeros((3, 1, 1, 12), dtype=torch.bool)
    for row, start in enumerate((0, 2, 4)):
        masks[row, 0, 0, start:start + 6] = True
    good = torch.ones(3, dtype=torch.bool)
    assert unsuppressed(masks, good, 0.4).tolist() == [True, False, True]
    assert unsuppressed(masks, good, 1).all()


@pytest.mark.parametrize('options', [
    {'score_threshold': 1.5}, {'birth_threshold': -1}, {'capacity': 0}, {'max_missed': -1},
    {'confirm_hits': 0}, {'retirement': 'later'},
])
def test_wrong_rules_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        TrackerConfig(**options)
