# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Classes of a model and of a data set that do not meet are said, with what to do."""

from __future__ import annotations

import logging

import pytest

from stmask_ros.evaluation.annotations import Annotations
from stmask_ros.evaluation.dataset import Category, Dataset, DatasetError, GroundTruthTrack, Video
from stmask_ros.evaluation.rle import MaskSequence


def annotations(*names: str) -> Annotations:
    """Return annotations of one video with an object of each category."""
    video = Video(1, 8, 8, 1, ('0.jpg',))
    nothing = MaskSequence.from_masks([None])
    tracks = tuple(
        GroundTruthTrack(number, 1, number, False, 0.0, nothing)
        for number in range(1, len(names) + 1)
    )
    categories = tuple(Category(number, name) for number, name in enumerate(names, 1))
    return Annotations(Dataset((video,), categories, tracks), True, True)


def test_annotated_categories_that_the_model_does_not_know_are_said(
    caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert annotations('person', 'panda', 'lizard').category_of_class(['Person', 'cup']) == {
            1: 1}
    assert 'no class for 2 of the 3 annotated categories (panda, lizard)' in caplog.text
    assert '--class-agnostic' in caplog.text


def test_nothing_is_said_where_all_are_known(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        annotations('person').category_of_class(['person', 'cup'])
    assert not caplog.text


def test_none_in_common_is_refused() -> None:
    with pytest.raises(DatasetError, match='--class-agnostic'):
        annotations('panda').category_of_class(['cup'])
