# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The rules on stamps and sizes."""

from __future__ import annotations

import pytest

from stmask_ros.tracking.time_guard import Judgement, LastImage, Verdict, judge

SECOND = 1_000_000_000
LAST = LastImage(stamp=100 * SECOND, height=120, width=160)


def _judge(stamp: int, height: int = 120, width: int = 160, max_gap: float = 2.0) -> Judgement:
    return judge(LAST, stamp, height, width, max_gap)


@pytest.mark.parametrize(('stamp', 'verdict'), [
    (100 * SECOND + 1, Verdict.KEEP),
    (102 * SECOND, Verdict.KEEP),
    (102 * SECOND + 1, Verdict.NEW_EPOCH),
    (100 * SECOND, Verdict.DUPLICATE),
    (100 * SECOND - 1, Verdict.NEW_EPOCH),
    (0, Verdict.KEEP),
    (-1, Verdict.NEW_EPOCH),
])
def test_stamp(stamp: int, verdict: Verdict) -> None:
    """A stamp goes on, repeats, goes back, leaps, or is not there."""
    assert _judge(stamp).verdict is verdict


def test_the_first_image_continues_nothing() -> None:
    """Whatever its stamp and size, the first image is kept."""
    assert judge(LastImage(), 5 * SECOND, 1, 1, 2.0).verdict is Verdict.KEEP


def test_without_limit_no_gap_is_too_long() -> None:
    """max_gap 0 switches the rule off, and the other rules stay."""
    assert _judge(10_000 * SECOND, max_gap=0.0).verdict is Verdict.KEEP
    assert _judge(99 * SECOND, max_gap=0.0).verdict is Verdict.NEW_EPOCH


@pytest.mark.parametrize('stamp', [100 * SECOND, 101 * SECOND, 0])
def test_another_size_is_another_stream(stamp: int) -> None:
    """A change of resolution starts an epoch and is named, whatever the stamp."""
    judgement = _judge(stamp, height=160, width=120)
    assert judgement.verdict is Verdict.NEW_EPOCH
    assert '160x120 became 120x160' in judgement.reason


def test_an_image_without_stamp_does_not_forget_the_time() -> None:
    """After an image with stamp zero, the last real stamp still rules."""
    last = _judge(0).last
    assert judge(last, 100 * SECOND, 120, 160, 2.0).verdict is Verdict.DUPLICATE


def test_a_duplicate_leaves_the_memory_alone() -> None:
    """What is remembered after a duplicate is what was remembered before it."""
    assert _judge(100 * SECOND).last == LAST


@pytest.mark.parametrize(('stamp', 'reason'), [
    (101 * SECOND, ''),
    (0, ''),
    (100 * SECOND, 'its stamp was processed already'),
    (98 * SECOND, 'the stamps went back by 2.000 s (a bag that starts again, a clock that '
                  'was set, or two publishers on one topic)'),
    (103 * SECOND, '3.000 s passed between two processed images, more than max_gap = 2.0 s'),
])
def test_the_reason_is_for_people(stamp: int, reason: str) -> None:
    assert _judge(stamp).reason == reason


def test_another_part_of_the_image_is_another_stream() -> None:
    """What was seen of the last image counts, and of nothing before the first."""
    window = (0, 0, 60, 80)
    assert judge(LastImage(), 5 * SECOND, 120, 160, 2.0, window).verdict is Verdict.KEEP
    judgement = judge(LAST, 101 * SECOND, 120, 160, 2.0, window)
    assert judgement.verdict is Verdict.NEW_EPOCH
    assert judgement.reason == 'the network sees another part of the image (region, crop)'
    assert judgement.last == LastImage(101 * SECOND, 120, 160, window)
    assert judge(judgement.last, 102 * SECOND, 120, 160, 2.0, window).verdict is Verdict.KEEP


@pytest.mark.parametrize(('height', 'width'), [(120, 161), (121, 160)])
def test_one_pixel_is_another_size(height: int, width: int) -> None:
    judgement = _judge(101 * SECOND, height, width)
    assert judgement.reason == f'the resolution changed: 160x120 became {width}x{height}'
    assert judgement.last == LastImage(101 * SECOND, height, width)


@pytest.mark.parametrize('stamp', [99 * SECOND, 101 * SECOND, 103 * SECOND])
def test_what_is_processed_is_remembered(stamp: int) -> None:
    assert _judge(stamp).last == LastImage(stamp, 120, 160)
