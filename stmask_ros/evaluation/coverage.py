# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""How much of every annotated object was found, and under one id, whatever else was reported."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stmask_ros.evaluation.video_iou import VideoOverlap

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

FOUND_IOU = 0.5
_NONE = -1


@dataclass(frozen=True)
class ObjectCoverage:
    """
    One annotated object of a video.

    frames: in which it is visible. recall: share of them in which a track's mask reaches IoU
    0.5. mean_iou: mean over them of the best track's IoU. stability: share of the frames in
    which it was found that the longest of its tracks covers; 0 if it never was. id_switches: how
    often another track takes it over, if each is followed for as long as it holds the object.
    """

    video_id: int
    object_id: int
    frames: int
    recall: float
    mean_iou: float
    stability: float
    id_switches: int


@dataclass(frozen=True)
class CoverageSummary:
    """Means over all objects, and the sum of the id switches."""

    objects: int
    recall: float
    mean_iou: float
    stability: float
    id_switches: int


def measure_coverage(overlaps: Iterable[VideoOverlap]) -> list[ObjectCoverage]:
    """Return the coverage of every object that is visible at all, whatever its class."""
    return [
        _cover(overlap, index, iou[:, index])
        for overlap in overlaps for iou in [overlap.frame_iou()]
        for index in range(len(overlap.truths)) if overlap.true_stack.areas[:, index].any()
    ]


def summarise(objects: Sequence[ObjectCoverage]) -> CoverageSummary:
    """Return the means over some objects; zeros without any."""
    count = max(1, len(objects))
    return CoverageSummary(
        len(objects),
        sum(entry.recall for entry in objects) / count,
        sum(entry.mean_iou for entry in objects) / count,
        sum(entry.stability for entry in objects) / count,
        sum(entry.id_switches for entry in objects),
    )


def best_iou(overlap: VideoOverlap) -> Float64Array:
    """Return the best track's IoU with each object, float64 [frames, objects]; NaN if unseen."""
    visible = overlap.true_stack.areas > 0
    best = overlap.frame_iou().max(axis=2, initial=0.0)
    return np.where(visible, best, np.nan)


def holders(overlap: VideoOverlap) -> Int64Array:
    """
    Return which track holds each object, int64 [frames, objects]; -1 for none.

    A track holds an object while its IoU is at least 0.5; then the best such one takes over.
    """
    iou = overlap.frame_iou()
    held = [_follow(iou[:, index]) for index in range(len(overlap.truths))]
    shape = (len(overlap.intersections), 0)
    return np.stack(held, axis=1) if held else np.zeros(shape, np.int64)


def _cover(overlap: VideoOverlap, index: int, iou: Float64Array) -> ObjectCoverage:
    visible = overlap.true_stack.areas[:, index] > 0
    held = _follow(iou)
    found = held != _NONE
    frames = int(visible.sum())
    longest = int((iou >= FOUND_IOU).sum(axis=0).max(initial=0))
    owners = held[found]
    return ObjectCoverage(
        overlap.video_id,
        overlap.truths[index].id,
        frames,
        recall=float(found.sum()) / frames,
        mean_iou=float(iou.max(axis=1, initial=0.0)[visible].mean()),
        stability=longest / max(1, int(found.sum())),
        id_switches=int((owners[1:] != owners[:-1]).sum()),
    )


def _follow(iou: Float64Array) -> Int64Array:
    """Return the track that holds one object, int64 [frames], from its IoU [frames, tracks]."""
    held = np.full(len(iou), _NONE)
    if iou.size == 0:
        return held
    holder = int(iou[0].argmax())
    for frame, row in enumerate(iou):
        if row[holder] < FOUND_IOU:
            holder = int(row.argmax())
        if row[holder] >= FOUND_IOU:
            held[frame] = holder
    return held
