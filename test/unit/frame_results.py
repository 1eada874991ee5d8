# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Results of frames, made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stmask_ros.masks import RegionMask
from stmask_ros.tracking.results import FrameResult, TrackStatus


@dataclass(frozen=True)
class Seen:
    """An instance: box x, y, width, height [pixel], filled by its mask."""

    track_id: int
    box: tuple[int, int, int, int]
    status: TrackStatus = TrackStatus.CONFIRMED
    class_id: int = 1


def frame_result(*seen: Seen, epoch: int = 1, sequence: int = 1) -> FrameResult:
    """Return the result of a frame of 100x200 pixels with these instances."""
    def integers(values: Sequence[int]) -> np.ndarray:
        return np.array(values, np.int64)

    boxes = np.array([its.box for its in seen], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    ones = np.ones(len(seen), np.int64)
    scores = np.full(len(seen), 0.5, np.float32)
    unseen = (TrackStatus.COASTING, TrackStatus.TERMINATED)
    return FrameResult(
        100, 200, epoch, sequence, True, integers([its.track_id for its in seen]),
        integers([its.status for its in seen]), ones, integers([its.class_id for its in seen]),
        scores, scores, ones, ones, integers([its.status in unseen for its in seen]), ones, ones,
        boxes, [_mask(its) for its in seen],
    )


def _mask(seen: Seen) -> RegionMask:
    x, y, width, height = seen.box
    if seen.status is TrackStatus.TERMINATED:
        return RegionMask.empty()
    return RegionMask(x, y, np.ones((height, width), bool))
