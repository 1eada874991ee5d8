# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Chosen objects over time: followed, away, found again, lost."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from frame_results import Seen, frame_result

from stmask_ros.families.appearance import Appearance
from stmask_ros.tracking.results import FrameResult, TrackStatus
from stmask_ros.tracking.selection import (
    Reacquisition,
    SelectedObject,
    SelectionStatus,
    advanced,
    chosen,
)

SECOND = 10**9
RULES = Reacquisition(time=5.0, likeness=0.9)
BOX = (10, 10, 40, 60)
ENDED = TrackStatus.TERMINATED


def looks(**angles: float) -> Appearance:
    """Return the appearance of tracks, t3=20.0 for instance: unit vectors at angles [degree]."""
    radians = np.radians(list(angles.values()))
    units = np.stack([np.cos(radians), np.sin(radians)], 1).astype(np.float32)
    return Appearance(np.array([int(name[1:]) for name in angles], np.int64), units)


def gone(track_id: int = 3, appearance: Appearance | None = None) -> SelectedObject:
    """Return an object that was seen at 1 s, and whose track has ended since."""
    result = frame_result(Seen(track_id, BOX))
    item = chosen(result, track_id, SECOND)
    (item,) = advanced([item], result, appearance, SECOND, RULES)
    (item,) = advanced([item], frame_result(Seen(track_id, BOX, ENDED)), None, 2 * SECOND, RULES)
    assert item.status is SelectionStatus.AWAY
    return item


def test_embeddings_of_any_length_are_made_directions() -> None:
    appearance = Appearance.of(np.array([4, 7]), torch.tensor([[3.0, 4.0], [0.0, 0.5]]).half())
    look = appearance.of_track(7)
    assert look is not None and look.dtype == np.float32 and look.tolist() == [0, 1]
    assert np.allclose(appearance.of_track(4), [0.6, 0.8])
    assert appearance.of_track(5) is None


def test_it_is_followed_by_its_track() -> None:
    item = chosen(frame_result(Seen(3, BOX), Seen(5, BOX)), 3, SECOND)
    for number, status in enumerate(
        (TrackStatus.TENTATIVE, TrackStatus.CONFIRMED, TrackStatus.COASTING), start=2
    ):
        result = frame_result(Seen(3, (number, 10, 40, 60), status), Seen(6, BOX))
        (item,) = advanced([item], result, looks(t3=30.0 * number), number * SECOND, RULES)
        assert item.status is SelectionStatus.FOLLOWED
        assert item.last.boxes[0, 0] == number
        assert item.last.masks[0].area == 2400
    # Coasting is no detection: what is born meanwhile may be the object itself.
    assert item.seen_at == 3 * SECOND
    assert item.newest_id == 6
    with pytest.raises(ValueError, match='track 9'):
        chosen(frame_result(), 9, SECOND)


def test_its_appearance_is_the_mean_of_its_detections() -> None:
    item = chosen(frame_result(Seen(3, BOX)), 3, SECOND)
    for _ in range(60):
        (item,) = advanced([item], frame_result(Seen(3, BOX)), looks(t3=0.0), SECOND, RULES)
    (item,) = advanced([item], frame_result(Seen(3, BOX)), looks(t3=90.0), SECOND, RULES)
    assert item.appearance is not None
    angle = np.degrees(np.arctan2(item.appearance[1], item.appearance[0]))
    assert angle == pytest.approx(np.degrees(np.arctan2(0.1, 0.9)), abs=0.01)


def test_it_is_found_again_by_its_embedding() -> None:
    """Anywhere in the image, under the identity it was chosen by, and followed from then on."""
    item = gone(appearance=looks(t3=0.0))
    assert item.last.masks[0].area == 0
    result = frame_result(Seen(8, (100, 5, 20, 20)), Seen(9, BOX))
    appearance = looks(t8=10.0, t9=80.0)
    (item,) = advanced([item], result, appearance, 3 * SECOND, RULES)
    assert (item.selected_id, item.track_id) == (3, 8)
    assert item.status is SelectionStatus.FOLLOWED
    assert item.reacquired == 1
    assert item.likeness == pytest.approx(np.cos(np.radians(10)))
    (item,) = advanced(
        [item], frame_result(Seen(8, (102, 5, 20, 20))), looks(t8=10.0), 4 * SECOND, RULES)
    assert item.seen_at == 4 * SECOND
    assert item.last.boxes[0, 0] == 102


@pytest.mark.parametrize(('result', 'appearance'), [
    (frame_result(Seen(8, BOX)), looks(t8=30.0)),
    (frame_result(Seen(8, BOX), Seen(9, BOX)), looks(t8=10.0, t9=10.0)),
    (frame_result(Seen(8, BOX, class_id=2)), looks(t8=0.0)),
    (frame_result(Seen(8, BOX, TrackStatus.TENTATIVE)), looks(t8=0.0)),
    (frame_result(Seen(8, BOX, TrackStatus.COASTING)), looks(t8=0.0)),
    (frame_result(Seen(2, BOX)), looks(t2=0.0)),
    (frame_result(Seen(8, BOX)), looks(t8=np.nan)),
    (frame_result(Seen(8, BOX)), looks(t9=0.0)),
    (frame_result(Seen(8, BOX)), Appearance(np.array([8]), np.ones((1, 7), np.float32))),
    (frame_result(), looks()),
], ids=['not alike', 'two alike', 'another class', 'tentative', 'coasting', 'older track',
        'not a number', 'unknown track', 'another network', 'nobody'])
def test_wrong_is_worse_than_none(result: FrameResult, appearance: Appearance) -> None:
    item = gone(appearance=looks(t3=0.0))
    (item,) = advanced([item], result, appearance, 3 * SECOND, RULES)
    assert item.status is SelectionStatus.AWAY
    assert item.track_id == 3


def test_two_that_left_together_are_told_apart_or_not_at_all() -> None:
    items = [gone(3, looks(t3=0.0)), gone(4, looks(t4=60.0))]
    apart = advanced(items, frame_result(Seen(8, BOX), Seen(9, BOX)), looks(t8=58.0, t9=2.0),
                     3 * SECOND, RULES)
    assert [item.track_id for item in apart] == [9, 8]
    twins = [gone(3, looks(t3=0.0)), gone(4, looks(t4=5.0))]
    after = advanced(twins, frame_result(Seen(8, BOX)), looks(t8=1.0), 3 * SECOND, RULES)
    assert [item.status for item in after] == [SelectionStatus.AWAY] * 2


def test_a_track_of_another_chosen_object_is_taken() -> None:
    item = gone(appearance=looks(t3=0.0))
    other = chosen(frame_result(Seen(8, BOX)), 8, SECOND)
    after = advanced([item, other], frame_result(Seen(8, BOX)), looks(t8=0.0), 3 * SECOND, RULES)
    assert [its.status for its in after] == [SelectionStatus.AWAY, SelectionStatus.FOLLOWED]


@pytest.mark.parametrize(('box', 'found'), [((12, 10, 40, 60), True), ((80, 10, 40, 60), False)])
def test_without_embeddings_the_place_decides(
    box: tuple[int, int, int, int], found: bool
) -> None:
    (item,) = advanced([gone()], frame_result(Seen(8, box)), None, 3 * SECOND, RULES)
    assert (item.track_id == 8) == found


def test_it_is_lost_after_a_time() -> None:
    item = gone(appearance=looks(t3=0.0))
    (item,) = advanced([item], frame_result(), looks(), 6 * SECOND, RULES)
    assert item.status is SelectionStatus.AWAY
    (item,) = advanced([item], frame_result(), looks(), 6 * SECOND + 1, RULES)
    assert item.status is SelectionStatus.LOST


def test_a_track_that_is_not_shown_is_not_ended() -> None:
    """Families that show a missed track no more still remember it: its own id comes back."""
    item = chosen(frame_result(Seen(3, BOX)), 3, SECOND)
    (item,) = advanced([item], frame_result(), looks(t3=0.0), 2 * SECOND, RULES)
    assert item.status is SelectionStatus.AWAY
    (item,) = advanced([item], frame_result(Seen(8, BOX)), looks(t3=0.0, t8=0.0), SECOND, RULES)
    assert item.status is SelectionStatus.AWAY
    (item,) = advanced([item], frame_result(Seen(3, BOX)), looks(t3=0.0), SECOND, RULES)
    assert item.status is SelectionStatus.FOLLOWED
    assert item.reacquired == 0
