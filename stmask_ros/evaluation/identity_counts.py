"""The counts behind HOTA, CLEAR MOT and IDF1 for the tracks of one class in one video."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from stmask_ros.evaluation.assignment import assign, assign_frames

Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Int64Array = npt.NDArray[np.int64]
SumsT = TypeVar('SumsT', bound='_Sums')

ALPHAS = np.arange(0.05, 0.99, 0.05)
IOU_THRESHOLD = 0.5
_EPSILON = np.finfo(np.float64).eps
# Of CLEAR MOT: keeping the partner of the previous frame is worth more than any overlap.
_KEEP_PARTNER = 1000.0
# Frames searched at a time for a change; without a limit, long videos that flicker take T**2.
_LOOK_AHEAD = 64
_MOSTLY_TRACKED = 0.8
_PARTLY_TRACKED = 0.2


@dataclass(frozen=True)
class FrameOverlaps:
    """
    The G objects and P predicted tracks of one class in one video of T frames.

    iou: float64 [T, G, P], 0 where either is absent.
    true_present: bool [T, G]; predicted_present: bool [T, P].
    """

    iou: Float64Array
    true_present: BoolArray
    predicted_present: BoolArray

    def visible(self) -> FrameOverlaps:
        """Leave out the tracks that are in no frame at all."""
        rows = self.true_present.any(axis=0)
        columns = self.predicted_present.any(axis=0)
        return FrameOverlaps(
            self.iou[:, rows][:, :, columns],
            self.true_present[:, rows],
            self.predicted_present[:, columns],
        )


@dataclass(frozen=True)
class _Sums:
    """Counts of one part of the data that add up to those of the whole, field by field."""

    def __add__(self: SumsT, other: SumsT) -> SumsT:
        return type(self)(*(
            getattr(self, field.name) + getattr(other, field.name) for field in fields(self)
        ))


@dataclass(frozen=True)
class HotaCounts(_Sums):
    """
    Float64 [19] each, for the IoU thresholds ALPHAS.

    matches, overlap: matched pairs of masks, and their summed IoU.
    association, recall, precision: summed over these pairs, how well the two tracks they belong
    to agree: Jaccard index, and share of the true and of the predicted track.
    """

    matches: Float64Array
    overlap: Float64Array
    association: Float64Array
    recall: Float64Array
    precision: Float64Array

    @classmethod
    def none(cls) -> HotaCounts:
        """Return the counts without any match."""
        zeros = np.zeros(len(ALPHAS))
        return cls(zeros, zeros, zeros, zeros, zeros)


@dataclass(frozen=True)
class ClearCounts(_Sums):
    """
    CLEAR MOT at IoU 0.5: matched pairs of masks, their summed IoU, and what befell the objects.

    mostly_tracked: in over 80 % of the object's frames; mostly_lost: in under 20 %.
    fragmentations: how often a tracked object was found again.
    """

    matches: float = 0.0
    overlap: float = 0.0
    id_switches: float = 0.0
    mostly_tracked: float = 0.0
    partly_tracked: float = 0.0
    mostly_lost: float = 0.0
    fragmentations: float = 0.0


@dataclass(frozen=True)
class IdentityCounts(_Sums):
    """
    All counts of the identity metrics.

    true_masks, predicted_masks: number of masks.
    id_matches: pairs of masks at IoU 0.5 under the best assignment of whole tracks.
    """

    true_masks: float
    predicted_masks: float
    hota: HotaCounts
    clear: ClearCounts
    id_matches: float

    @classmethod
    def none(cls) -> IdentityCounts:
        """Return the counts of no masks at all."""
        return cls(0.0, 0.0, HotaCounts.none(), ClearCounts(), 0.0)


def count_identities(overlaps: FrameOverlaps) -> IdentityCounts:
    """Match the tracks of one class in one video and count."""
    overlaps = overlaps.visible()
    true_masks = float(overlaps.true_present.sum())
    predicted_masks = float(overlaps.predicted_present.sum())
    if not overlaps.iou.any():
        lost = ClearCounts(mostly_lost=overlaps.true_present.shape[1])
        return IdentityCounts(true_masks, predicted_masks, HotaCounts.none(), lost, 0.0)
    return IdentityCounts(
        true_masks,
        predicted_masks,
        _hota(overlaps),
        _clear(overlaps),
        _id_matches(overlaps.iou),
    )


def _hota(overlaps: FrameOverlaps) -> HotaCounts:
    scores = _alignment(overlaps) * overlaps.iou
    partners = assign_frames(scores, overlaps.true_present, overlaps.predicted_present)
    frames, truths = np.nonzero(partners >= 0)
    predictions = partners[frames, truths]
    iou = overlaps.iou[frames, truths, predictions]
    matched = iou[:, None] >= ALPHAS - _EPSILON
    pairs = np.zeros((*overlaps.iou.shape[1:], len(ALPHAS)))
    np.add.at(pairs, (truths, predictions), matched)
    true_lengths = overlaps.true_present.sum(axis=0)[:, None, None]
    predicted_lengths = overlaps.predicted_present.sum(axis=0)[None, :, None]
    either = true_lengths + predicted_lengths - pairs
    return HotaCounts(
        matches=matched.sum(axis=0).astype(np.float64),
        overlap=(matched * iou[:, None]).sum(axis=0),
        association=(pairs * (pairs / either)).sum(axis=(0, 1)),
        recall=(pairs * (pairs / true_lengths)).sum(axis=(0, 1)),
        precision=(pairs * (pairs / predicted_lengths)).sum(axis=(0, 1)),
    )


def _alignment(overlaps: FrameOverlaps) -> Float64Array:
    """Return how well whole tracks fit each other before any matching, float64 [G, P]."""
    iou = overlaps.iou
    total = iou.sum(axis=1)[:, None, :] + iou.sum(axis=2)[:, :, None] - iou
    share = np.divide(iou, total, out=np.zeros_like(iou), where=total > _EPSILON).sum(axis=0)
    true_lengths = overlaps.true_present.sum(axis=0)[:, None]
    predicted_lengths = overlaps.predicted_present.sum(axis=0)[None]
    alignment: Float64Array = share / (true_lengths + predicted_lengths - share)
    return alignment


def _clear(overlaps: FrameOverlaps) -> ClearCounts:
    # Frames without an object or without a prediction leave the previous partners standing.
    busy = overlaps.true_present.any(axis=1) & overlaps.predicted_present.any(axis=1)
    partners = _steady_partners(overlaps, np.flatnonzero(busy))
    matched = partners >= 0
    chosen = np.take_along_axis(overlaps.iou[busy], np.maximum(partners, 0)[:, :, None], axis=2)
    ratio = matched.sum(axis=0) / overlaps.true_present.sum(axis=0)
    mostly = float((ratio > _MOSTLY_TRACKED).sum())
    partly = float((ratio >= _PARTLY_TRACKED).sum()) - mostly
    starts = matched & ~np.pad(matched, ((1, 0), (0, 0)))[:-1]
    return ClearCounts(
        matches=float(matched.sum()),
        overlap=float(chosen[..., 0][matched].sum()),
        id_switches=float(_switches(partners)),
        mostly_tracked=mostly,
        partly_tracked=partly,
        mostly_lost=len(ratio) - mostly - partly,
        fragmentations=float(np.maximum(starts.sum(axis=0) - 1, 0).sum()),
    )


def _steady_partners(overlaps: FrameOverlaps, frames: Int64Array) -> Int64Array:
    """Return the partners [len(frames), G] above the threshold that change least."""
    iou = overlaps.iou[frames]
    scores = np.where(iou >= IOU_THRESHOLD - _EPSILON, iou, 0.0)
    partners = np.full(scores.shape[:2], -1, np.int64)
    index = 0
    while index < len(frames):
        if index > 0:
            _favour(scores[index], partners[index - 1])
        partners[index] = assign(
            scores[index],
            overlaps.true_present[frames[index]],
            overlaps.predicted_present[frames[index]],
        )
        ahead = scores[index + 1:index + 1 + _LOOK_AHEAD]
        end = index + 1 + _steady_frames(ahead, partners[index])
        partners[index + 1:end] = partners[index]
        index = end
    return partners


def _favour(scores: Float64Array, previous: Int64Array) -> None:
    """Raise, in scores [G, P], those of the previous partners [G] that are still possible."""
    truths = (previous >= 0).nonzero()[0]
    truths = truths[scores[truths, previous[truths]] > 0]
    scores[truths, previous[truths]] += _KEEP_PARTNER


def _steady_frames(scores: Float64Array, partners: Int64Array) -> int:
    """
    Return the number of frames, from the first of scores [T, G, P] on, that change nothing.

    Keeping partners is worth more than anything else. So they all stay as long as every pair is
    possible, and nothing is added as long as no other two that are free could be a pair.
    """
    truths = (partners >= 0).nonzero()[0]
    predictions = partners[truths]
    free = np.ones(scores.shape[1:], bool)
    free[truths] = False
    free[:, predictions] = False
    possible = scores > 0
    broken = ~np.all(possible[:, truths, predictions], axis=1)
    changed = np.flatnonzero(broken | np.any(possible[:, free], axis=1))
    return int(changed[0]) if changed.size else len(scores)


def _switches(partners: Int64Array) -> int:
    """Return how often an object's partner [T, G] differs from the last one it had."""
    truths, _ = np.nonzero(partners.T >= 0)
    found = partners.T[partners.T >= 0]
    return int(((found[1:] != found[:-1]) & (truths[1:] == truths[:-1])).sum())


def _id_matches(iou: Float64Array) -> float:
    common = (iou >= IOU_THRESHOLD).sum(axis=0)
    return float(common[linear_sum_assignment(common, maximize=True)].sum())
