# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Decides from stamp and size whether an image continues its stream. Pure: no clock, no ROS."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from stmask_ros.tracking.view import Window

_NANOSECONDS = 1_000_000_000


class Verdict(Enum):
    """What to do with an image."""

    KEEP = auto()
    DUPLICATE = auto()
    NEW_EPOCH = auto()


@dataclass(frozen=True)
class LastImage:
    """
    What is remembered of the stream so far.

    stamp: of the last image that had one [ns]; 0 if none had.
    height, width: of the last image [pixel]; 0 before the first.
    window: the part of it that the network saw.
    """

    stamp: int = 0
    height: int = 0
    width: int = 0
    window: Window | None = None


@dataclass(frozen=True)
class Judgement:
    """
    The verdict on an image, and why.

    reason: for the log; empty for KEEP.
    last: what to remember if the image is really processed.
    """

    verdict: Verdict
    reason: str
    last: LastImage


def judge(
    last: LastImage, stamp: int, height: int, width: int, max_gap: float,
    window: Window | None = None,
) -> Judgement:
    """
    Judge an image that follows `last`.

    stamp: of the image [ns]; 0 means that it has none, and then time decides nothing.
    max_gap: longest pause between two images of one epoch [s]; 0: as long as it likes.
    window: the part of the image that the network sees.
    """
    following = LastImage(stamp or last.stamp, height, width, window)
    if last.height and (height, width) != (last.height, last.width):
        change = f'{last.width}x{last.height} became {width}x{height}'
        return Judgement(Verdict.NEW_EPOCH, f'the resolution changed: {change}', following)
    if last.height and window != last.window:
        return Judgement(
            Verdict.NEW_EPOCH, 'the network sees another part of the image (region, crop)',
            following,
        )
    if stamp == 0 or last.stamp == 0:
        return Judgement(Verdict.KEEP, '', following)
    step = (stamp - last.stamp) / _NANOSECONDS
    if stamp == last.stamp:
        return Judgement(Verdict.DUPLICATE, 'its stamp was processed already', last)
    if step < 0:
        return Judgement(
            Verdict.NEW_EPOCH,
            f'the stamps went back by {-step:.3f} s (a bag that starts again, a clock that was '
            'set, or two publishers on one topic)',
            following,
        )
    if max_gap and step > max_gap:
        return Judgement(
            Verdict.NEW_EPOCH,
            f'{step:.3f} s passed between two processed images, more than max_gap = {max_gap} s',
            following,
        )
    return Judgement(Verdict.KEEP, '', following)
