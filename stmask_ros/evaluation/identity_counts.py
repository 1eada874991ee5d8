# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The counts behind HOTA, CLEAR MOT and IDF1, for many groups of tracks at once."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from stmask_ros.evaluation.assignment import assign_frames

Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Int64Array = npt.NDArray[np.int64]
CountsT = TypeVar('CountsT', bound='_Counts')

ALPHAS = np.arange(0.05, 0.99, 0.05)
IOU_THRESHOLD = 0.5
_EPSILON = np.finfo(np.float64).eps
# Of CLEAR MOT: keeping the partner of the previous frame is worth more than any overlap.
_KEEP_PARTNER = 1000.0
_MOSTLY_TRACKED = 0.8
_PARTLY_TRACKED = 0.2


@dataclass(frozen=True)
class FrameOverlaps:
    """
    The tracks of N groups: each holds the objects and predictions of one class in one video.

    Groups have T frames, G objects and P predicted tracks, or fewer: then the rest is absent.
    iou: float64 [N, T, G, P], 0 where either is absent.
    true_present: bool [N, T, G]; predicted_present: bool [N, T, P].
    """

    iou: Float64Array
    true_present: BoolArray
    predicted_present: BoolArray


@dataclass(frozen=True)
class _Counts:
    """Counts of N groups: arrays whose first axis is N, or further such counts."""

    def summed(self: CountsT, rows: Int64Array, length: int) -> CountsT:
        """Return counts of `length` rows; those of group n are added to row rows[n]."""
        return type(self)(*(
            _summed(getattr(self, field.name), rows, length) for field in fields(self)
        ))

    def __add__(self: CountsT, other: CountsT) -> CountsT:
        return type(self)(*(
            getattr(self, field.name) + getattr(other, field.name) for field in fields(self)
        ))


def _summed(counts: Any, rows: Int64Array, length: int) -> Any:
    if isinstance(counts, _Counts):
        return counts.summed(rows, length)
    sums = np.zeros((length, *counts.shape[1:]))
    np.add.at(sums, rows, counts)
    return sums


@dataclass(frozen=True)
class HotaCounts(_Counts):
    """
    Float64 [N, 19] each, for the IoU thresholds ALPHAS.

    matches, overlap: matched pairs of masks, and their summed IoU.
    association, recall, precision: summed over these pairs, how well the two tracks they belong
    to agree: Jaccard index, and share of the true and of the predicted track.
    """

    matches: Float64Array
    overlap: Float64Array
    association: Float64Array
    recall: Float64Array
    precision: Float64Array


@dataclass(frozen=True)
class ClearCounts(_Counts):
    """
    CLEAR MOT at IoU 0.5, float64 [N]: matched pairs of masks, their summed IoU, and what befell.

    mostly_tracked: objects matched in over 80 % of their frames; mostly_lost: in under 20 %.
    fragmentations: how often a tracked object was found again.
    """

    matches: Float64Array
    overlap: Float64Array
    id_switches: Float64Array
    mostly_tracked: Float64Array
    partly_tracked: Float64Array
    mostly_lost: Float64Array
    fragmentations: Float64Array


@dataclass(frozen=True)
class IdentityCounts(_Counts):
    """
    All counts of the identity metrics.

    true_masks, predicted_masks: float64 [N], number of masks.
    id_matches: float64 [N], pairs of masks at IoU 0.5 under the best assignment of whole tracks.
    """

    true_masks: Float64Array
    predicted_masks: Float64Array
    hota: HotaCounts
    clear: ClearCounts
    id_matches: Float64Array

    @classmethod
    def none(cls, groups: int) -> IdentityCounts:
        """Return the counts of groups without any masks."""
        zeros, of_thresholds = np.zeros(groups), np.zeros((groups, len(ALPHAS)))
        return cls(
            zeros, zeros, HotaCounts(*(of_thresholds for _ in fields(HotaCounts))),
            ClearCounts(*(zeros for _ in fields(ClearCounts))), zeros,
        )


def count_identities(overlaps: FrameOverlaps) -> IdentityCounts:
    """Match the tracks of every group and count."""
    return IdentityCounts(
        overlaps.true_present.sum(axis=(1, 2), dtype=np.float64),
        overlaps.predicted_present.sum(axis=(1, 2), dtype=np.float64),
        _hota(overlaps),
        _clear(overlaps),
        _id_matches(overlaps),
    )


def _hota(overlaps: FrameOverlaps) -> HotaCounts:
    groups, frames, truths, predictions = _matched_masks(overlaps)
    iou = overlaps.iou[groups, frames, truths, predictions]
    matched = iou[:, None] >= ALPHAS - _EPSILON
    overlap = np.zeros((len(overlaps.iou), len(ALPHAS)))
    np.add.at(overlap, groups, matched * iou[:, None])
    counts, _, true_tracks, predicted_tracks = overlaps.iou.shape
    pairs = np.zeros((counts, true_tracks, predicted_tracks, len(ALPHAS)))
    np.add.at(pairs, (groups, truths, predictions), matched)
    true_lengths, predicted_lengths = (lengths[..., None] for lengths in _lengths(overlaps))
    either = true_lengths + predicted_lengths - pairs
    return HotaCounts(
        matches=pairs.sum(axis=(1, 2)),
        overlap=overlap,
        association=(pairs * (pairs / np.maximum(1, either))).sum(axis=(1, 2)),
        recall=(pairs * (pairs / np.maximum(1, true_lengths))).sum(axis=(1, 2)),
        precision=(pairs * (pairs / np.maximum(1, predicted_lengths))).sum(axis=(1, 2)),
    )


def _matched_masks(overlaps: FrameOverlaps) -> tuple[Int64Array, ...]:
    """Return the matches of HOTA: group, frame, object and prediction, int64 [matches] each."""
    scores = _alignment(overlaps)[:, None] * overlaps.iou
    partners = assign_frames(
        scores.reshape(-1, *scores.shape[2:]),
        overlaps.true_present.reshape(-1, scores.shape[2]),
        overlaps.predicted_present.reshape(-1, scores.shape[3]),
    ).reshape(scores.shape[:3])
    groups, frames, truths = np.nonzero(partners >= 0)
    return groups, frames, truths, partners[groups, frames, truths]


def _alignment(overlaps: FrameOverlaps) -> Float64Array:
    """Return how well whole tracks fit each other before any matching, float64 [N, G, P]."""
    iou = overlaps.iou
    total = iou.sum(axis=2)[:, :, None, :] + iou.sum(axis=3)[:, :, :, None] - iou
    share = np.divide(iou, total, out=np.zeros_like(iou), where=total > _EPSILON).sum(axis=1)
    true_lengths, predicted_lengths = _lengths(overlaps)
    alignment: Float64Array = share / np.maximum(1, true_lengths + predicted_lengths - share)
    return alignment


def _lengths(overlaps: FrameOverlaps) -> tuple[Int64Array, Int64Array]:
    """Return in how many frames the tracks are, int64 [N, G, 1] and [N, 1, P]."""
    return (
        overlaps.true_present.sum(axis=1)[:, :, None],
        overlaps.predicted_present.sum(axis=1)[:, None],
    )


def _clear(overlaps: FrameOverlaps) -> ClearCounts:
    partners, matched, found_again = _steady_partners(overlaps)
    iou = np.take_along_axis(overlaps.iou, np.maximum(partners, 0)[..., None], axis=3)[..., 0]
    frames = overlaps.true_present.sum(axis=1)
    shown, ratio = frames > 0, matched.sum(axis=1) / np.maximum(1, frames)
    mostly = (shown & (ratio > _MOSTLY_TRACKED)).sum(axis=1, dtype=np.float64)
    lost = (shown & (ratio < _PARTLY_TRACKED)).sum(axis=1, dtype=np.float64)
    again = np.maximum(found_again.sum(axis=1) - 1, 0)
    return ClearCounts(
        matches=matched.sum(axis=(1, 2), dtype=np.float64),
        overlap=np.where(matched, iou, 0).sum(axis=(1, 2)),
        id_switches=_switches(partners, matched),
        mostly_tracked=mostly,
        partly_tracked=shown.sum(axis=1) - mostly - lost,
        mostly_lost=lost,
        fragmentations=again.sum(axis=1, dtype=np.float64),
    )


def _steady_partners(overlaps: FrameOverlaps) -> tuple[Int64Array, BoolArray, BoolArray]:
    """
    Match frame by frame so that partners above the threshold change least.

    Returns the partners int64 [N, T, G], -1 for none, and bool [N, T, G]: where an object is
    matched, and where that begins.
    """
    possible = np.where(overlaps.iou >= IOU_THRESHOLD - _EPSILON, overlaps.iou, 0.0)
    # Frames without an object or without a prediction leave the previous partners standing.
    busy = np.logical_and(
        overlaps.true_present.any(axis=2), overlaps.predicted_present.any(axis=2)
    )
    groups, frames, truths = overlaps.true_present.shape
    standing = np.full((groups, frames + 1, truths), -1, np.int64)
    for frame in range(frames):
        scores = possible[:, frame]
        _favour(scores, standing[:, frame])
        partners = assign_frames(
            scores, overlaps.true_present[:, frame], overlaps.predicted_present[:, frame]
        )
        standing[:, frame + 1] = np.where(busy[:, frame, None], partners, standing[:, frame])
    matched = (standing[:, 1:] >= 0) & busy[..., None]
    return standing[:, 1:], matched, matched & (standing[:, :-1] < 0)


def _favour(scores: Float64Array, previous: Int64Array) -> None:
    """Raise, in scores [N, G, P], those of the previous partners [N, G] still possible."""
    groups, truths = np.nonzero(previous >= 0)
    predictions = previous[groups, truths]
    is_possible = scores[groups, truths, predictions] > 0
    scores[groups, truths, predictions] += _KEEP_PARTNER * is_possible


def _switches(partners: Int64Array, matched: BoolArray) -> Float64Array:
    """Return how often an object's partner [N, T, G] differs from the last one it had, [N]."""
    groups, truths, frames = np.nonzero(matched.swapaxes(1, 2))
    found = partners[groups, frames, truths]
    same_object = (groups[1:] == groups[:-1]) & (truths[1:] == truths[:-1])
    switched = same_object & (found[1:] != found[:-1])
    return np.bincount(groups[1:][switched], minlength=len(matched)).astype(np.float64)


def _id_matches(overlaps: FrameOverlaps) -> Float64Array:
    common = (overlaps.iou >= IOU_THRESHOLD).sum(axis=1, dtype=np.float64)
    true_lengths, predicted_lengths = _lengths(overlaps)
    partners = assign_frames(common, true_lengths[:, :, 0] > 0, predicted_lengths[:, 0] > 0)
    matched = np.take_along_axis(common, np.maximum(partners, 0)[..., None], axis=2)[..., 0]
    sums: Float64Array = np.where(partners >= 0, matched, 0).sum(axis=1)
    return sums
