# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Which detection continues which track, what a track keeps, and what the host reads of it."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stmask_ros.families.class_thresholds import (
    OFF,
    are_off,
    check_thresholds,
    lowest_scores,
    wanted_classes,
)
from stmask_ros.families.stmask.association import Association, associate, similarity
from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.families.stmask.detection import Detections
from stmask_ros.families.stmask.host_tracks import HostTracks, packed, visible_tracks
from stmask_ros.families.stmask.preprocess import Extent
from stmask_ros.families.stmask.tracks import TrackerConfig, TrackTable

CPU = torch.device('cpu')
SIDE = 8
# Where two things lie in eight columns, and three looks that have nothing in common.
LEFT, RIGHT = (0, 4), (4, 8)
LOOKS = torch.eye(3)


def found(*things: tuple[tuple[int, int], float, int]) -> tuple[Detections, Tensor]:
    """Return detections of columns, a score and a look, of class 1, and their masks."""
    boxes = torch.tensor([[first / SIDE, 0, last / SIDE, 1] for (first, last), _, _ in things])
    masks = torch.zeros(len(things), SIDE, SIDE)
    for mask, ((first, last), _, _) in zip(masks, things, strict=True):
        mask[:, first:last] = 0.75
    scores = torch.tensor([score for _, score, _ in things])
    looks = LOOKS[[look for _, _, look in things]]
    return Detections(
        boxes.view(-1, 4), scores, torch.ones(len(things), dtype=torch.int64),
        torch.stack((scores, scores / 4), -1),
        scores.view(-1, 1) * 10, looks.view(-1, 3),
    ), masks


def tracked(*things: tuple[tuple[int, int], float, int], stamp: int = 5) -> TrackTable:
    """Return a track for each thing, with ids from 1."""
    return TrackTable.born(*found(*things), torch.arange(1, 1 + len(things)), stamp)


def joined(
    tracks: TrackTable, *things: tuple[tuple[int, int], float, int], stamp: int = 9,
    **tracker: Any
) -> Association:
    """Associate the things of the next frame."""
    detections, masks = found(*things)
    return associate(
        tracks.aged(), detections, masks, 1 + int(tracks.ids.max()), stamp,
        TrackerConfig(**tracker),
    )


@pytest.mark.parametrize(('tracker', 'expected'), [
    # The same look halfway beside: cosine 1, IoU of boxes and of masks one third.
    ({}, [1.4, 1 + 1 / 3 + 2 / 3]),
    ({'matching': 'paper'}, [0.8, 1 + 1 / 3]),
    ({'new_track_score': 0.25}, [0.25, 2.0]),
    ({'new_track_score': 0.0, 'matching': 'paper'}, [0.0, 1 + 1 / 3]),
    ({'class_penalty': 0.5}, [1.4, 2.0]),
    ({'class_thresholds': (OFF, 0.5)}, [1.4, -math.inf]),
    ({'class_thresholds': (0.5, OFF)}, [1.4, 2.0]),
])
def test_matching_scores(tracker: dict[str, Any], expected: list[float]) -> None:
    detections, masks = found(((2, 6), 0.9, 0))
    scores = similarity(detections, masks, tracked((LEFT, 0.9, 0)), TrackerConfig(**tracker))
    torch.testing.assert_close(scores, torch.tensor([expected]))


def test_looks_alone_and_places_alone() -> None:
    detections, masks = found((LEFT, 0.9, 1), (RIGHT, 0.8, 0))
    scores = similarity(detections, masks, tracked((LEFT, 0.9, 0)), TrackerConfig())
    torch.testing.assert_close(scores, torch.tensor([[1.4, 0.5 + 1 + 2], [1.4, 1.0]]))


def test_another_class_is_less_alike_by_the_penalty() -> None:
    detections, masks = found((LEFT, 0.9, 0), (LEFT, 0.9, 0))
    detections = replace(
        detections, classes=torch.tensor([1, 2]),
        class_scores=torch.tensor([[0.9, 0.6], [0.6, 0.9]]))
    scores = similarity(
        detections, masks, tracked((LEFT, 0.9, 0)), TrackerConfig(class_penalty=0.75))
    torch.testing.assert_close(scores[:, 1], torch.tensor([4.0, 3.75]))


def test_a_weak_detection_continues_only_what_it_overlaps() -> None:
    """Beside each other by half: an IoU of boxes of a third, a score of 2.33 and more than 1.4."""
    tracks = tracked((LEFT, 0.9, 0))
    for score, overlap, ids, hits in (
        (0.1, 0.3, [1], [2]), (0.1, 0.4, [1], [1]), (0.3, 0.4, [1], [2]),
    ):
        current, _ = joined(
            tracks, ((2, 6), score, 0), birth_threshold=0.2, weak_overlap=overlap)
        assert (current.ids.tolist(), current.hits.tolist()) == (ids, hits)


@pytest.mark.parametrize(('look', 'margin', 'ids'), [
    (0, 0.0, [1, 2]), (0, 1.0, [1]), (1, 1.0, [1, 2]),
])
def test_a_new_thing_near_a_lost_one_of_its_look_is_that_one(
    look: int, margin: float, ids: list[int]
) -> None:
    """Beside each other, boxes grown by their size overlap by a half: a score of 1 + 1, or 1.5."""
    options = {'search_margin': margin, 'new_track_score': 1.8}
    current, _ = joined(tracked((LEFT, 0.9, 0)), (RIGHT, 0.8, look), **options)
    assert current.ids.tolist() == ids


def test_a_track_that_was_found_is_not_searched_for() -> None:
    current, _ = joined(
        tracked((LEFT, 0.9, 0)), (LEFT, 0.8, 0), (RIGHT, 0.7, 0), search_margin=1.0,
        new_track_score=1.8)
    assert current.ids.tolist() == [1, 2]
    torch.testing.assert_close(current.scores, torch.tensor([0.8, 0.7]))


def test_a_detection_too_weak_for_a_birth_does_not_search() -> None:
    current, _ = joined(
        tracked((LEFT, 0.9, 0)), (RIGHT, 0.1, 0), search_margin=1.0, new_track_score=1.8,
        birth_threshold=0.2)
    assert current.missed.tolist() == [1]


def test_what_fills_up_a_batch_is_like_nothing() -> None:
    tracks = TrackTable.stacked([tracked((LEFT, 0.9, 0))], 3)
    detections, masks = found((LEFT, 0.9, 0))
    batch = Detections(*(getattr(detections, f.name)[None] for f in fields(Detections)))
    scores = similarity(batch, masks[None], tracks, TrackerConfig())
    assert scores.isneginf().tolist() == [[[False, False, True, True]]]


def test_a_track_takes_the_strongest_of_those_that_chose_it() -> None:
    tracks = tracked((LEFT, 0.9, 0), (RIGHT, 0.8, 1))
    current, remembered = joined(tracks, (RIGHT, 0.7, 1), (RIGHT, 0.6, 1), (LEFT, 0.5, 2))
    assert current.ids.tolist() == remembered.ids.tolist() == [1, 2]
    torch.testing.assert_close(current.scores, torch.tensor([0.5, 0.7]))


def test_what_is_renewed_and_what_is_counted() -> None:
    tracks = tracked((LEFT, 0.9, 0), (RIGHT, 0.8, 1))
    detections, masks = found((LEFT, 0.6, 0))
    tracks = replace(tracks, missed=torch.tensor([2, 3]), hits=torch.tensor([4, 4]))
    current = associate(tracks.aged(), detections, masks * 0.9, 3, 9, TrackerConfig()).current
    assert current.ages.tolist() == [2, 2]
    assert current.hits.tolist() == [5, 4]
    assert current.missed.tolist() == [0, 4]
    assert current.first_seen.tolist() == [5, 5]
    assert current.last_detected.tolist() == [9, 5]
    torch.testing.assert_close(current.scores, torch.tensor([0.6, 0.8]))
    torch.testing.assert_close(current.detection_scores, torch.tensor([0.6, 0.8]))
    torch.testing.assert_close(current.coefficients, torch.tensor([[6.0], [8.0]]))
    torch.testing.assert_close(current.masks.amax((1, 2)), torch.tensor([0.675, 0.75]))
    torch.testing.assert_close(current.boxes, tracks.boxes)
    torch.testing.assert_close(current.embeddings, LOOKS[:2])


def test_new_tracks_come_after_with_ids_in_order() -> None:
    current, remembered = joined(tracked((LEFT, 0.9, 0)), (LEFT, 0.9, 0), (RIGHT, 0.8, 1),
                                 (RIGHT, 0.7, 2), stamp=11)
    for table in (current, remembered):
        assert table.ids.dtype == torch.int64
        assert table.ids.tolist() == [1, 2, 3]
        assert table.first_seen.tolist() == [5, 11, 11]
        assert table.last_detected.tolist() == [11, 11, 11]
        assert table.ages.tolist() == [2, 1, 1]
        assert table.hits.tolist() == [2, 1, 1]
        assert table.missed.tolist() == table.reported.tolist() == [0, 0, 0]
    torch.testing.assert_close(current.class_scores[:, 0], current.scores)


def test_a_detection_as_strong_as_a_birth_needs_starts_a_track() -> None:
    things = ((RIGHT, 0.75, 1), (RIGHT, 0.5, 2))
    current, _ = joined(tracked((LEFT, 0.9, 0)), *things, birth_threshold=0.75)
    assert current.ids.tolist() == [1, 2]
    torch.testing.assert_close(current.scores, torch.tensor([0.9, 0.75]))


@pytest.mark.parametrize(('tracker', 'ids'), [
    ({'capacity': 2}, [1, 2]), ({'capacity': 3}, [1, 2, 3]), ({'capacity': 1}, [1]),
    ({'capacity': 1, 'max_missed': 1}, [1]),
    ({'capacity': 1, 'max_missed': 0}, [1, 2]),  # the old one ends and leaves its place
    ({'capacity': 1, 'retirement': 'never'}, [1, 2, 3]),
])
def test_room_for_new_tracks(tracker: dict[str, Any], ids: list[int]) -> None:
    tracks = tracked((LEFT, 0.9, 0))
    current, _ = joined(tracks, (RIGHT, 0.8, 1), (RIGHT, 0.7, 2), **tracker)
    assert current.ids.tolist() == ids


def test_a_track_that_is_found_keeps_its_place_however_often_it_was_missed() -> None:
    tracks = replace(tracked((LEFT, 0.9, 0)), missed=torch.tensor([9]))
    current, _ = joined(tracks, (LEFT, 0.8, 0), (RIGHT, 0.7, 1), capacity=1, max_missed=1)
    assert current.ids.tolist() == [1]


@pytest.mark.parametrize(('how', 'second', 'kept'), [
    ({'fused': False}, (0, 6), 0.9), ({}, (0, 6), 0.5), ({'fused': False}, (6, 8), 0.5)])
def test_without_fusion_a_detection_over_two_masks_is_shown_and_not_remembered(
    how: dict[str, bool], second: tuple[int, int], kept: float
) -> None:
    tracks = tracked((LEFT, 0.9, 0), (second, 0.8, 1))
    detections, masks = found((LEFT, 0.5, 0))
    current, remembered = associate(
        tracks.aged(), detections, masks, 3, 9, TrackerConfig(), **how)
    torch.testing.assert_close(current.scores, torch.tensor([0.5, 0.8]))
    torch.testing.assert_close(remembered.scores, torch.tensor([kept, 0.8]))
    assert remembered.hits.tolist() == [2, 1]
    assert remembered.missed.tolist() == [0, 1]


@pytest.mark.parametrize('fused', [False, True])
def test_a_batch_is_its_frames_side_by_side(fused: bool) -> None:
    tables = [tracked((LEFT, 0.9, 0), ((0, 6), 0.8, 1)), tracked((RIGHT, 0.7, 2))]
    frames = [found((LEFT, 0.6, 0), (RIGHT, 0.5, 2)), found((LEFT, 0.6, 1), (RIGHT, 0.5, 2))]
    config = TrackerConfig(capacity=2)
    together = associate(
        TrackTable.stacked(tables, 3).aged(),
        Detections(*(torch.stack([getattr(detections, f.name) for detections, _ in frames])
                     for f in fields(Detections))),
        torch.stack([masks for _, masks in frames]), torch.tensor([[3], [2]]),
        torch.tensor([[9], [9]]), config, fused)
    for index, (table, (detections, masks)) in enumerate(zip(tables, frames, strict=True)):
        alone = associate(
            table.aged(), detections, masks, 1 + len(table), 9, config, fused)
        for expected, batch in zip(alone, together, strict=True):
            used = batch.ids[index] > 0
            for field in fields(TrackTable):
                torch.testing.assert_close(
                    getattr(batch, field.name)[index][used], getattr(expected, field.name))


def test_nothing_found_and_nothing_known() -> None:
    tracks = tracked((LEFT, 0.9, 0))
    detections, masks = found((LEFT, 0.9, 0))
    nothing = detections.first(0)
    current, remembered = associate(tracks, nothing, masks[:0], 2, 9, TrackerConfig())
    assert current is not tracks
    assert current.ids.tolist() == remembered.ids.tolist() == [1]
    first, _ = associate(tracks.first(0), detections, masks, 1, 9, TrackerConfig())
    assert first.ids.tolist() == [1]


# What is kept of tracks.


@pytest.mark.parametrize(('tracker', 'ids'), [
    ({'max_missed': 2}, [1, 2]), ({'max_missed': 3}, [1, 2, 3]),
    ({'max_missed': 2, 'retirement': 'never'}, [1, 2, 3]),
    ({'max_missed': 3, 'class_thresholds': (0.5, OFF)}, [1, 3]),
])
def test_tracks_that_are_remembered(tracker: dict[str, Any], ids: list[int]) -> None:
    tracks = replace(
        tracked(*[(LEFT, 0.9, 0)] * 3), missed=torch.tensor([1, 2, 3]),
        classes=torch.tensor([1, 2, 1]))
    assert tracks.kept(TrackerConfig(**tracker)).ids.tolist() == ids


def test_an_empty_table_has_the_shapes_of_the_network() -> None:
    config = STMaskConfig.named('stmask_lite', input_height=33, input_width=64)
    table = TrackTable.empty(config, CPU)
    assert len(table) == 0
    assert table.masks.shape == (0, 16, 16)
    assert table.boxes.shape == (0, 4)
    assert table.coefficients.shape == (0, config.num_coefficients)
    assert table.embeddings.shape == (0, config.embedding_size)
    for name in ('ids', 'classes', 'ages', 'hits', 'missed', 'first_seen', 'reported'):
        assert getattr(table, name).dtype == torch.int64, name


def test_frames_of_a_batch_come_back() -> None:
    tables = [tracked((LEFT, 0.9, 0), (RIGHT, 0.8, 1)), tracked((RIGHT, 0.7, 2))]
    batch = TrackTable.stacked(tables, 4)
    assert batch.ids.tolist() == [[1, 2, 0, 0], [1, 0, 0, 0]]
    both = batch.joined(batch)
    assert both.masks.shape == (2, 8, SIDE, SIDE)
    for table, back in zip(tables, both.frames([2, 1]), strict=True):
        for field in fields(TrackTable):
            assert torch.equal(getattr(table, field.name), getattr(back, field.name)), field.name


FRACTIONS = (
    'score_threshold', 'birth_threshold', 'nms_threshold', 'score_decay', 'class_memory',
    'weak_overlap')
LOWEST = {
    'class_penalty': 0, 'search_margin': 0, 'max_missed': 0, 'min_mask_area': 0,
    'confirm_hits': 1, 'capacity': 1,
    'max_detections': 1, 'coasting_per_hit': 0,
}


@pytest.mark.parametrize('name', FRACTIONS)
def test_fractions_of_a_tracker(name: str) -> None:
    for value in (0, 1):
        TrackerConfig(**{name: value})
    for value in (-0.01, 1.01, math.nan):
        with pytest.raises(ValueError, match=f'^{name}: expected 0 to 1, got {value}$'):
            TrackerConfig(**{name: value})


@pytest.mark.parametrize('name', LOWEST)
def test_lowest_numbers_of_a_tracker(name: str) -> None:
    lowest = LOWEST[name]
    TrackerConfig(**{name: lowest})
    text = f'^{name}: expected {lowest} or more, got {lowest - 1}$'
    with pytest.raises(ValueError, match=text):
        TrackerConfig(**{name: lowest - 1})


# Thresholds of classes.


@pytest.mark.parametrize(('thresholds', 'told'), [
    ((0.5, -0.1), '^class_thresholds: expected 0 to 1, or infinity, got -0.1$'),
    ((1.1, 2.0), '^class_thresholds: expected 0 to 1, or infinity, got 1.1$'),
    ((OFF, OFF), '^class_thresholds: expected a class that is on, got infinity for all$'),
])
def test_thresholds_that_cannot_be(thresholds: tuple[float, ...], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        TrackerConfig(class_thresholds=thresholds)


def test_thresholds_by_class() -> None:
    for right in ((), (0.0, 1.0), (OFF, 0.5)):
        check_thresholds(right)
    thresholds = (0.25, OFF, 0.75)
    assert are_off(thresholds, np.array([1, 2, 3, 0])).tolist() == [False, True, False, False]
    assert are_off((), np.array([1, 2])).tolist() == [False, False]
    assert lowest_scores(thresholds, torch.tensor([[3, 0], [1, 2]])).tolist() == [
        [0.75, 0.0], [0.25, OFF]]
    classes, lowest = wanted_classes(thresholds, CPU)
    assert classes.tolist() == [1, 3]
    assert lowest.tolist() == [0.25, 0.75]


# What the host reads.


def test_the_host_reads_what_the_tracks_are() -> None:
    tracks = tracked((LEFT, 0.9, 0), (RIGHT, 0.8, 1))
    counted = torch.arange(2)
    tracks = replace(
        tracks, detection_scores=tracks.scores / 2, classes=3 + counted, ages=5 + counted,
        hits=7 + counted, missed=9 + counted, first_seen=(1 << 60) + counted,
        last_detected=11 + counted, reported=counted)
    visible = torch.tensor([False, True])
    (host,) = HostTracks.read(packed(tracks, visible))
    batch = TrackTable.stacked([tracks, tracks], 3)
    twice = HostTracks.read(packed(batch, visible.new_tensor([[False, True, False]] * 2)))
    for each in (host, *(frame.rows(np.arange(2)) for frame in twice)):
        assert each.visible.tolist() == [False, True]
        for name in (field.name for field in fields(HostTracks) if field.name != 'visible'):
            np.testing.assert_array_equal(getattr(each, name), getattr(tracks, name), name)
            assert getattr(each, name).dtype.itemsize * 8 == (
                32 if name in ('scores', 'detection_scores', 'boxes') else 64), name
    assert twice[1].ids.tolist() == [1, 2, 0]


@pytest.mark.parametrize(('change', 'tracker', 'visible'), [
    ({}, {}, True),
    ({}, {'score_threshold': 0.75}, False),
    ({}, {'score_threshold': 0.7}, True),
    ({}, {'min_mask_area': 32}, False),
    ({}, {'min_mask_area': 31}, True),
    ({}, {'score_threshold': 0.9, 'class_thresholds': (0.7,)}, True),
    ({}, {'class_thresholds': (0.75,)}, False),
    ({'masks': torch.full((2, SIDE, SIDE), 0.5)}, {}, False),
    ({'missed': torch.tensor([9, 0])}, {}, True),
    ({'missed': torch.tensor([2, 0])}, {'coasting_per_hit': 0.25}, False),
    ({'missed': torch.tensor([2, 0]), 'hits': torch.tensor([7, 1])}, {'coasting_per_hit': 0.25},
     False),
    ({'missed': torch.tensor([2, 0]), 'hits': torch.tensor([8, 1])}, {'coasting_per_hit': 0.25},
     True),
    ({}, {'coasting_per_hit': 0}, True),
    ({'missed': torch.tensor([1, 0])}, {'coasting_per_hit': 0}, False),
    # Of the padded input, the image fills three quarters across and a half down.
    ({'boxes': torch.tensor([[0.5, 0.25, 1.0, 0.75]] * 2)}, {}, True),
    ({'boxes': torch.tensor([[0.52, 0.25, 1.0, 0.75]] * 2)}, {}, False),
    ({'boxes': torch.tensor([[0.5, 0.27, 1.0, 0.75]] * 2)}, {}, False),
])
def test_tracks_that_can_be_seen(
    change: dict[str, Tensor], tracker: dict[str, Any], visible: bool
) -> None:
    """The first of two; the second has no mask."""
    tracks = tracked((LEFT, 0.75, 0), ((0, 0), 0.75, 0))
    tracks = replace(tracks, boxes=torch.tensor([[0.0, 0.0, 0.5, 0.5]] * 2))
    tracks = replace(tracks, **change)
    extent = Extent(width=0.75, height=0.5)
    assert visible_tracks(tracks, extent, TrackerConfig(**tracker)).tolist() == [visible, False]


def on_host(**columns: list[int]) -> HostTracks:
    """Return tracks with these columns; all in use, new, visible and reported otherwise."""
    count = len(next(iter(columns.values())))
    tracks = tracked(*[(LEFT, 0.9, 0)] * count)
    tracks = replace(tracks, reported=torch.ones(count, dtype=torch.int64))
    tracks = replace(tracks, **{
        name: torch.tensor(values) for name, values in columns.items() if name != 'visible'})
    visible = torch.tensor(columns.get('visible', [1] * count)).bool()
    return HostTracks.read(packed(tracks, visible))[0]


def test_tracks_that_end() -> None:
    config = TrackerConfig(max_missed=2, class_thresholds=(0.5, OFF))
    host = on_host(missed=[2, 3, 0, 0], classes=[1, 1, 2, 1], ids=[1, 2, 3, 0])
    assert host.gone(config).tolist() == [False, True, False, False]
    assert host.ended(config).tolist() == [False, True, True, False]
    assert host.remembered(config) == 1
    never = replace(config, retirement='never')
    assert host.ended(never).tolist() == [False, False, True, False]
    assert host.remembered(never) == 2


def test_what_a_result_shows() -> None:
    host = on_host(
        missed=[0, 0, 3, 3, 0], visible=[1, 0, 1, 1, 1], reported=[0, 0, 1, 0, 1],
        ids=[1, 2, 3, 4, 0])
    config = TrackerConfig(max_missed=2)
    assert host.shown(config).tolist() == [0, 2]
    assert host.shown(replace(config, retirement='never')).tolist() == [0]


def test_new_tracks_are_counted() -> None:
    assert on_host(ages=[1, 2, 1, 1], ids=[1, 2, 3, 0]).born() == 2
