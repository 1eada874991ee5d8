# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What suppression leaves of things of several classes, and the class of a track over time."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torchvision.ops import nms

from stmask_ros.families.class_thresholds import OFF
from stmask_ros.families.stmask.association import associate
from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.families.stmask.detection import Candidates, Detections, best_class_nms
from stmask_ros.families.stmask.tracks import TrackerConfig, TrackTable

SMALL = STMaskConfig.named('stmask_lite', input_height=32, input_width=32, num_classes=2)
CAT, DOG = 1, 2


def candidates(boxes: Tensor, probabilities: Tensor) -> Candidates:
    count = len(boxes)
    return Candidates(
        torch.ones(count, dtype=torch.bool), torch.arange(count), boxes, probabilities,
        torch.ones(count),
    )


def left_of(
    *things: tuple[float, int, float], rivals: Tensor | None = None
) -> list[tuple[int, int]]:
    """Suppress boxes of width 1 at these columns, of a class with a score; return what is left."""
    columns, classes, scores = zip(*things, strict=True)
    left = torch.tensor(columns).unsqueeze(1)
    boxes = torch.cat((left, left * 0, left + 1, left * 0 + 1), 1)
    probabilities = torch.zeros(len(things), 2)
    probabilities[range(len(things)), [number - 1 for number in classes]] = torch.tensor(scores)
    found = best_class_nms(candidates(boxes, probabilities), 0.5, rivals)
    found = found.only(found.valid)
    return list(zip(found.anchors.tolist(), found.classes.tolist(), strict=True))


def test_things_of_two_classes_may_overlap_unless_they_are_one() -> None:
    assert left_of((0.0, CAT, 0.9), (0.2, DOG, 0.8)) == [(0, CAT), (1, DOG)]
    assert left_of((0.0, CAT, 0.9), (0.2, CAT, 0.8)) == [(0, CAT)]
    assert left_of((0.0, CAT, 0.9), (0.02, DOG, 0.8)) == [(0, CAT)]


def test_a_rival_stays_beside_a_stronger_taught_class() -> None:
    rivals = torch.tensor([[False, True], [False, False]])  # CAT is one of DOG
    stronger = (0.02, DOG, 0.8)
    assert left_of((0.0, CAT, 0.2), stronger, rivals=rivals) == [(1, DOG), (0, CAT)]
    assert left_of((0.0, CAT, 0.2), stronger, rivals=rivals.t()) == [(1, DOG)]
    assert left_of((0.0, CAT, 0.09), stronger, rivals=rivals) == [(1, DOG)]
    assert left_of((0.0, CAT, 0.9), stronger, rivals=rivals) == [(0, CAT)]


def test_what_is_suppressed_suppresses_nothing() -> None:
    assert left_of((0.0, CAT, 0.9), (0.3, CAT, 0.8), (0.6, CAT, 0.7)) == [(0, CAT), (2, CAT)]


@pytest.mark.parametrize('seed', range(5))
def test_within_a_class_it_is_the_classic_suppression(seed: int) -> None:
    """A crowd, in which chains of boxes are long."""
    random = torch.Generator().manual_seed(seed)
    corners = torch.rand(150, 2, generator=random) * 0.3
    boxes = torch.cat((corners, corners + 0.2 + 0.1 * torch.rand(150, 2, generator=random)), 1)
    scores = torch.rand(150, 1, generator=random)
    found = best_class_nms(candidates(boxes, scores), 0.5)
    wanted = nms(boxes, scores.squeeze(1), 0.5)
    assert found.anchors[found.valid].tolist() == wanted.tolist()
    assert len(wanted) < 100


def one(*scores: float) -> Detections:
    """Return a detection with these scores of classes, always in one place and of one look."""
    best = torch.tensor([scores]).max(-1)
    return Detections(
        torch.tensor([[0.1, 0.1, 0.9, 0.9]]), best.values, best.indices + 1,
        torch.tensor([scores]),
        torch.zeros(1, SMALL.num_coefficients),
        torch.nn.functional.one_hot(torch.tensor([0]), SMALL.embedding_size).float(),
    )


def classes_of_a_track(
    votes: list[tuple[float, float]], memory: float, thresholds: tuple[float, ...] = ()
) -> list[int]:
    """Return the class of one track after each detection, of scores of CAT and DOG."""
    tracks = TrackTable.empty(SMALL, torch.device('cpu'))
    tracker = TrackerConfig(class_memory=memory, class_thresholds=thresholds)
    shown = []
    for stamp, scores in enumerate(votes):
        found = one(*scores)
        masks = torch.ones(1, 8, 8)
        tracks = associate(tracks.aged(), found, masks, 1 + stamp, stamp, tracker).remembered
        assert tracks.ids.tolist() == [1]
        shown += tracks.classes.tolist()
    return shown


def test_a_track_has_the_class_that_its_detections_say_together() -> None:
    cat, dog, either = (0.8, 0.0), (0.0, 0.9), (0.5, 0.6)
    votes = [cat, cat, dog, either, dog, dog]
    assert classes_of_a_track(votes, 1.0) == [CAT] * 4 + [DOG] * 2
    assert classes_of_a_track(votes, 0.0) == [CAT, CAT, DOG, DOG, DOG, DOG]
    assert classes_of_a_track([(0.6, 0.5), (0.1, 0.3)], 1.0) == [CAT, DOG]


def test_a_class_that_is_off_has_no_votes() -> None:
    votes = [(0.5, 0.4), (0.0, 0.4)]
    assert classes_of_a_track(votes, 1.0) == [CAT, DOG]
    assert classes_of_a_track(votes, 1.0, (0.2, OFF)) == [CAT, CAT]


def test_old_votes_fade() -> None:
    votes = [(0.9, 0.0)] * 50 + [(0.0, 0.9)] * 8
    assert classes_of_a_track(votes, 0.9)[-1] == DOG
    assert classes_of_a_track(votes, 1.0)[-1] == CAT


def test_votes_are_weighed_between_0_and_1() -> None:
    with pytest.raises(ValueError, match='class_memory: expected 0 to 1'):
        replace(TrackerConfig(), class_memory=1.5)


@pytest.mark.parametrize(('penalty', 'second', 'ids'), [
    (0.0, (0.1, 0.9), [1]), (3.0, (0.1, 0.9), [1, 2]), (3.0, (0.8, 0.9), [1]),
])
def test_a_detection_of_another_class_matches_less(
    penalty: float, second: tuple[float, float], ids: list[int]
) -> None:
    """Unless it could as well be of the track's class."""
    tracker = TrackerConfig(class_penalty=penalty)
    tracks = TrackTable.empty(SMALL, torch.device('cpu'))
    for stamp, scores in enumerate(((0.9, 0.1), second)):
        tracks = associate(
            tracks.aged(), one(*scores), torch.ones(1, 8, 8), 1 + stamp, stamp, tracker
        ).remembered
    assert tracks.ids.tolist() == ids
