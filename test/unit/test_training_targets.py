# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Matching anchors to objects, on anchors few enough to see."""

from __future__ import annotations

import torch

from stmask_ros.families.stmask.training.targets import (
    Assignment,
    FrameTargets,
    MatchingRules,
    Positives,
    assign,
)


def targets(*boxes: tuple[float, float, float, float]) -> FrameTargets:
    count = len(boxes)
    return FrameTargets(
        torch.tensor(boxes).reshape(-1, 4), torch.arange(1, count + 1),
        torch.arange(1, count + 1) * 10, torch.zeros(count, 8, 8, dtype=torch.bool),
    )


def row(*widths: float) -> torch.Tensor:
    """Return anchors of these widths and height 1 whose left edges are at 0."""
    return torch.tensor([(w / 2, 0.5, w, 1.0) for w in widths])


def labels(found: Assignment) -> list[int]:
    return found.labels.tolist()


LOGITS = torch.zeros(9, 3)
UNIT = (0.0, 0.0, 1.0, 1.0)


def test_thresholds() -> None:
    found = assign(targets(UNIT), row(0.9, 0.5, 0.45, 0.4, 0.3), LOGITS[:5], MatchingRules())
    assert labels(found) == [1, 1, -1, -1, 0]


def test_the_best_anchor_is_forced_and_each_object_has_its_own() -> None:
    both = targets(UNIT, (0.0, 0.0, 0.9, 1.0))
    found = assign(both, row(0.2, 0.1), LOGITS[:2], MatchingRules(ambiguous=None))
    # The second object overlaps the first anchor most; the first takes what is left.
    assert labels(found) == [2, 1]


def test_an_anchor_of_two_objects_is_neutral() -> None:
    both = targets(UNIT, (0.0, 0.0, 0.8, 1.0))
    anchors = row(1.0, 0.8, 0.9)
    assert labels(assign(both, anchors, LOGITS[:3], MatchingRules())) == [1, 2, -1]
    assert labels(assign(both, anchors, LOGITS[:3], MatchingRules(ambiguous=None)))[2] > 0


def test_classification_aware_matching_raises_the_thresholds() -> None:
    anchors = row(1.0, 0.6, 0.55, 0.45)
    logits = torch.zeros(4, 2)
    logits[:2, 1] = 20  # certain and right: quality 1
    logits[2, 1] = -20  # certain and wrong: quality 0, although of the overlap of a positive
    found = assign(targets(UNIT), anchors, logits, MatchingRules(classification_aware=True))
    assert labels(found) == [1, 1, 0, 0]
    assert labels(assign(targets(UNIT), anchors, logits, MatchingRules())) == [1, 1, 1, -1]


def test_no_objects_is_all_background() -> None:
    assert labels(assign(targets(), row(0.5, 0.6), LOGITS[:2], MatchingRules())) == [0, 0]


def test_weights_of_positives_sum_to_one_in_each_image() -> None:
    frames = [targets(UNIT), targets(), targets((0.0, 0.0, 0.6, 1.0))]
    found = [assign(t, row(0.9, 0.6, 0.55), LOGITS[:3], MatchingRules()) for t in frames]
    positives = Positives.of(frames, found)
    assert positives.frames.tolist() == [0, 0, 0, 2, 2, 2]
    assert positives.ids.tolist() == [10] * 6
    assert torch.allclose(positives.weights, torch.full((6,), 1 / 3))
