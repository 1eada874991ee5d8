# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Which instance a point or a box means, and when it means none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from frame_results import Seen, frame_result

from stmask_ros.tracking import recent_results
from stmask_ros.tracking.pointing import (
    AmbiguousError,
    NothingThereError,
    Place,
    PointingError,
    instance_at,
    overlaps,
)
from stmask_ros.tracking.recent_results import NoSuchImageError, OtherEpochError, RecentResults
from stmask_ros.tracking.results import TrackStatus

LEFT, RIGHT = Seen(3, (10, 10, 40, 60)), Seen(7, (100, 20, 30, 30))


@pytest.mark.parametrize(('place', 'track_id', 'confidence'), [
    (Place(10.0, 10.0), 3, 1.0), (Place(49.9, 69.9), 3, 1.0), (Place(115.0, 35.5), 7, 1.0),
    (Place(100, 20, 30, 30), 7, 1.0), (Place(10, 10, 40, 30), 3, 0.5),
])
def test_a_place_means_an_instance(place: Place, track_id: int, confidence: float) -> None:
    meant = instance_at(frame_result(LEFT, RIGHT), place)
    assert meant.track_id == track_id
    assert meant.confidence == pytest.approx(confidence)


@pytest.mark.parametrize('place', [
    Place(50.0, 30.0), Place(-1.0, 30.0), Place(1e30, 1e30), Place(10, 10, 40, 10),
    Place(500, 500, 10, 10),
])
def test_nothing_is_there(place: Place) -> None:
    with pytest.raises(NothingThereError, match=r'tracks \[3, 7\]'):
        instance_at(frame_result(LEFT, RIGHT), place)
    with pytest.raises(NothingThereError, match='none'):
        instance_at(frame_result(), place)


def test_several_are_there() -> None:
    inner = Seen(9, (20, 20, 10, 10))
    both = frame_result(LEFT, inner)
    with pytest.raises(AmbiguousError, match=r'\[3, 9\]'):
        instance_at(both, Place(25, 25))
    assert instance_at(both, Place(20, 20, 11, 10)).track_id == 9
    twin = Seen(4, (12, 10, 40, 60))
    with pytest.raises(AmbiguousError):
        instance_at(frame_result(LEFT, twin), Place(11, 10, 40, 60))


def test_a_point_off_the_masks_means_the_only_box_around_it() -> None:
    result = frame_result(LEFT, RIGHT)
    result.masks[1].pixels[:15] = False
    meant = instance_at(result, Place(110, 22))
    assert (meant.track_id, meant.confidence) == (7, 0.5)


def test_what_has_ended_is_not_there() -> None:
    ended = Seen(3, LEFT.box, TrackStatus.TERMINATED)
    with pytest.raises(NothingThereError):
        instance_at(frame_result(ended, RIGHT), Place(20, 20, 40, 60))


@pytest.mark.parametrize('numbers', [
    (math.nan, 0, 0, 0), (0, math.inf, 0, 0), (0, 0, -1, 5), (0, 0, 5, 0), (0, 0, 0, math.nan),
])
def test_no_place(numbers: tuple[float, ...]) -> None:
    with pytest.raises(PointingError, match='expected'):
        Place(*numbers)


def test_overlaps() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [3, 3, 3, 3]], np.float32)
    expected = [1.0, 1 / 3, 0.0, 0.0]
    assert overlaps(boxes[0], boxes).tolist() == pytest.approx(expected)


def test_images_are_found_again() -> None:
    recent = RecentResults()
    with pytest.raises(NoSuchImageError, match='yet'):
        recent.find(0, 0)
    for stamp in range(1, 4):
        recent.add(stamp, frame_result(LEFT, sequence=stamp))
    assert recent.find(2, 0).sequence == recent.find(2, 1).sequence == 2
    assert recent.find(0, 0).sequence == 3
    with pytest.raises(NoSuchImageError, match='stamp 9 ns'):
        recent.find(9, 0)
    with pytest.raises(OtherEpochError, match='epoch 5'):
        recent.find(2, 5)
    recent.add(1, frame_result(LEFT, epoch=2, sequence=4))
    assert recent.find(1, 0).sequence == 4
    with pytest.raises(OtherEpochError, match='epoch 1'):
        recent.find(2, 0)


def test_what_became_of_a_track() -> None:
    recent = RecentResults()
    recent.add(1, frame_result(LEFT, RIGHT))
    recent.add(2, frame_result(RIGHT, sequence=2))
    last = recent.last_with(3)
    assert last is not None and last.sequence == 1
    assert recent.last_with(4) is None
    assert not recent.has_ended(3)
    recent.add(3, frame_result(Seen(3, LEFT.box, TrackStatus.TERMINATED), sequence=3))
    assert recent.has_ended(3)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the number of images, and by the size of their masks; the newest is always there."""
    recent = RecentResults()
    for stamp in range(1, recent_results.MOST_IMAGES + 6):
        recent.add(stamp, frame_result(LEFT))
    assert recent.find(6, 0)
    with pytest.raises(NoSuchImageError):
        recent.find(5, 0)
    monkeypatch.setattr(recent_results, 'MOST_BYTES', 3 * 40 * 60)
    for stamp in range(1001, 1006):
        recent.add(stamp, frame_result(LEFT))
    assert recent.find(1003, 0)
    with pytest.raises(NoSuchImageError, match='last 3'):
        recent.find(1002, 0)
    monkeypatch.setattr(recent_results, 'MOST_BYTES', 1)
    recent.add(2000, frame_result(LEFT))
    assert recent.find(2000, 0)
