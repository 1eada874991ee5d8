"""The counts behind HOTA, CLEAR MOT and IDF1 for the tracks of one class in one video."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from stmask_ros.evaluation.assignment import best_partners, contested_frames, only_partners

Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Int64Array = npt.NDArray[np.int64]

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
class IdentityCounts:
    """
    Sums over frames, to be added up over videos and classes.

    true_masks, predicted_masks: number of masks.
    hota_matches, hota_overlap, association, association_recall, association_precision:
    float64 [19], for each of ALPHAS: matched pairs, their summed IoU, and the summed Jaccard
    index, recall and precision of the pairs of tracks they belong to.
    clear_matches, clear_overlap: pairs at IoU 0.5, and their summed IoU.
    id_switches, mostly_tracked, partly_tracked, mostly_lost, fragmentations: of CLEAR MOT.
    id_matches: pairs at IoU 0.5 under the best assignment of whole tracks.
    """

    true_masks: float
    predicted_masks: float
    hota_matches: Float64Array
    hota_overlap: Float64Array
    association: Float64Array
    association_recall: Float64Array
    association_precision: Float64Array
    clear_matches: float
    clear_overlap: float
    id_switches: float
    mostly_tracked: float
    partly_tracked: float
    mostly_lost: float
    fragmentations: float
    id_matches: float

    @classmethod
    def unmatched(
        cls, true_masks: float = 0.0, predicted_masks: float = 0.0, objects: float = 0.0
    ) -> IdentityCounts:
        """Return the counts of masks that have no counterpart, of that many objects."""
        zeros = np.zeros(len(ALPHAS))
        return cls(
            true_masks, predicted_masks, zeros, zeros, zeros, zeros, zeros,
            0.0, 0.0, 0.0, 0.0, 0.0, objects, 0.0, 0.0,
        )

    def __add__(self, other: IdentityCounts) -> IdentityCounts:
        """Return the counts of both."""
        return IdentityCounts(*(
            getattr(self, field.name) + getattr(other, field.name) for field in fields(self)
        ))


def count_identities(overlaps: FrameOverlaps) -> IdentityCounts:
    """Match the tracks of one class in one video and count."""
    overlaps = overlaps.visible()
    true_masks = float(overlaps.true_present.sum())
    predicted_masks = float(overlaps.predicted_present.sum())
    objects = overlaps.true_present.shape[1]
    if not overlaps.iou.any():
        return IdentityCounts.unmatched(true_masks, predicted_masks, objects)
    return IdentityCounts(
        true_masks,
        predicted_masks,
        *_hota(overlaps),
        *_clear(overlaps),
        _id_matches(overlaps.iou),
    )


def _hota(overlaps: FrameOverlaps) -> tuple[Float64Array, ...]:
    """Return hota_matches to association_precision of IdentityCounts."""
    scores = _alignment(overlaps) * overlaps.iou
    partners = only_partners(scores)
    for frame in np.flatnonzero(contested_frames(scores)):
        partners[frame] = best_partners(scores[frame], *_present(overlaps, frame))
    frames, truths = np.nonzero(partners >= 0)
    predictions = partners[frames, truths]
    iou = overlaps.iou[frames, truths, predictions]
    matched = iou[:, None] >= ALPHAS - _EPSILON
    pairs = np.zeros((*overlaps.iou.shape[1:], len(ALPHAS)))
    np.add.at(pairs, (truths, predictions), matched)
    true_lengths = overlaps.true_present.sum(axis=0)[:, None, None]
    predicted_lengths = overlaps.predicted_present.sum(axis=0)[None, :, None]
    return (
        matched.sum(axis=0).astype(np.float64),
        (matched * iou[:, None]).sum(axis=0),
        (pairs * (pairs / (true_lengths + predicted_lengths - pairs))).sum(axis=(0, 1)),
        (pairs * (pairs / true_lengths)).sum(axis=(0, 1)),
        (pairs * (pairs / predicted_lengths)).sum(axis=(0, 1)),
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


def _clear(overlaps: FrameOverlaps) -> tuple[float, ...]:
    """Return clear_matches to fragmentations of IdentityCounts."""
    # Frames without an object or without a prediction leave the previous partners standing.
    busy = overlaps.true_present.any(axis=1) & overlaps.predicted_present.any(axis=1)
    iou = np.where(overlaps.iou >= IOU_THRESHOLD - _EPSILON, overlaps.iou, 0.0)
    partners = _steady_partners(iou, overlaps)[busy]
    matched = partners >= 0
    chosen = np.take_along_axis(iou[busy], np.maximum(partners, 0)[:, :, None], axis=2)[:, :, 0]
    ratio = matched.sum(axis=0) / overlaps.true_present.sum(axis=0)
    mostly = float((ratio > _MOSTLY_TRACKED).sum())
    partly = float((ratio >= _PARTLY_TRACKED).sum()) - mostly
    starts = matched & ~np.pad(matched, ((1, 0), (0, 0)))[:-1]
    return (
        float(matched.sum()),
        float(chosen[matched].sum()),
        float(_switches(partners)),
        mostly,
        partly,
        len(ratio) - mostly - partly,
        float(np.maximum(starts.sum(axis=0) - 1, 0).sum()),
    )


def _steady_partners(iou: Float64Array, overlaps: FrameOverlaps) -> Int64Array:
    """Return the partners [T, G] that change least; iou [T, G, P] is 0 below the threshold."""
    partners = only_partners(iou)
    busy = np.flatnonzero(
        overlaps.true_present.any(axis=1) & overlaps.predicted_present.any(axis=1)
    )
    contested = contested_frames(iou)
    previous = np.full(iou.shape[1], -1)
    for frame in busy:
        if contested[frame]:
            kept = previous[:, None] == np.arange(iou.shape[2])
            scores = np.where(iou[frame] > 0, _KEEP_PARTNER * kept + iou[frame], 0.0)
            partners[frame] = best_partners(scores, *_present(overlaps, frame))
        previous = partners[frame]
    return partners


def _switches(partners: Int64Array) -> int:
    """Return how often an object's partner [T, G] differs from the last one it had."""
    truths, _ = np.nonzero(partners.T >= 0)
    found = partners.T[partners.T >= 0]
    return int(((found[1:] != found[:-1]) & (truths[1:] == truths[:-1])).sum())


def _id_matches(iou: Float64Array) -> float:
    common = (iou >= IOU_THRESHOLD).sum(axis=0)
    return float(common[linear_sum_assignment(common, maximize=True)].sum())


def _present(overlaps: FrameOverlaps, frame: int) -> tuple[Int64Array, Int64Array]:
    return (
        np.flatnonzero(overlaps.true_present[frame]),
        np.flatnonzero(overlaps.predicted_present[frame]),
    )
