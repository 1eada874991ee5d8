"""Average precision and recall of tracks: greedy matching by score, then curves per class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_POINTS = np.linspace(0.0, 1.0, 101)
MAX_DETECTIONS = (1, 10, 100)
# Mean area [pixel] of a track, both ends included: all, small, medium, large.
AREA_RANGES = np.array([
    [0.0, 1e10], [0.0, 128.0**2], [128.0**2, 256.0**2], [256.0**2, 1e10],
])
NOT_DEFINED = -1.0
_HIGHEST_THRESHOLD = 1 - 1e-10


@dataclass(frozen=True)
class Objects:
    """
    The G annotated objects of one class in one video.

    average_areas: float64 [G] pixels.
    is_crowd: bool [G], to be ignored, and to be matched any number of times.
    counts_when_matched: bool [G]; where False, a match leaves the detection a false positive.
    """

    average_areas: Float64Array
    is_crowd: BoolArray
    counts_when_matched: BoolArray


@dataclass(frozen=True)
class Matches:
    """
    What became of the D detections of one class in one video, in descending order of score.

    scores: float64 [D].
    true_positive, false_positive: bool [A, T, D] for each area range and IoU threshold; neither
    is set for a detection to be ignored.
    object_count: int64 [A], objects that should have been found.
    """

    scores: Float64Array
    true_positive: BoolArray
    false_positive: BoolArray
    object_count: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Curves:
    """
    Precision and recall of one class over all videos; NOT_DEFINED where there is no object.

    precision: float64 [A, T, 101] at the RECALL_POINTS, at most 100 detections per video.
    recall: float64 [A, T, 3], highest recall for each of MAX_DETECTIONS.
    """

    precision: Float64Array
    recall: Float64Array


def match(
    iou: Float64Array, scores: Float64Array, detection_areas: Float64Array, objects: Objects
) -> Matches:
    """
    Give each detection, best score first, the free object it overlaps most.

    iou: float64 [D, G]; scores: float64 [D], descending; detection_areas: float64 [D] pixels.
    """
    ignored = objects.is_crowd | _outside(objects.average_areas)
    partner = _partners(iou, ignored, objects.is_crowd)
    found = partner >= 0
    counted, dropped = found, np.zeros_like(found)
    if found.any():
        area_index = np.arange(len(AREA_RANGES))[:, None, None]
        counted = found & objects.counts_when_matched[partner]
        dropped = found & ignored[area_index, partner]
    dropped = dropped | (~counted & _outside(detection_areas)[:, None])
    return Matches(scores, counted & ~dropped, ~counted & ~dropped, (~ignored).sum(axis=1))


def accumulate(videos: Sequence[Matches]) -> Curves:
    """Return the curves of one class from its matches in all videos (ascending video id)."""
    precision = np.full((len(AREA_RANGES), len(IOU_THRESHOLDS), len(RECALL_POINTS)), NOT_DEFINED)
    recall = np.full((len(AREA_RANGES), len(IOU_THRESHOLDS), len(MAX_DETECTIONS)), NOT_DEFINED)
    if not videos:
        return Curves(precision, recall)
    order = np.argsort(-np.concatenate([video.scores for video in videos]), kind='stable')
    true_positive = np.concatenate([video.true_positive for video in videos], axis=2)
    false_positive = np.concatenate([video.false_positive for video in videos], axis=2)
    ranks = np.concatenate([np.arange(len(video.scores)) for video in videos])
    object_count = np.sum([video.object_count for video in videos], axis=0)
    for area in np.flatnonzero(object_count):
        precision[area] = _sampled_precision(
            true_positive[area][:, order], false_positive[area][:, order], object_count[area]
        )
        for column, limit in enumerate(MAX_DETECTIONS):
            found = true_positive[area][:, ranks < limit].sum(axis=1)
            recall[area, :, column] = found / object_count[area]
    return Curves(precision, recall)


def _partners(
    iou: Float64Array, ignored: BoolArray, is_crowd: BoolArray
) -> npt.NDArray[np.int64]:
    """
    Return the object that each detection takes, int64 [A, T, D], -1 for none.

    iou: [D, G]; ignored: [A, G]; is_crowd: [G]. An object to be ignored is taken only if no
    other is left above the threshold. Of equal overlaps the later object wins.
    """
    detections, objects = iou.shape
    partner = np.full((len(AREA_RANGES), len(IOU_THRESHOLDS), detections), -1, np.int64)
    if objects == 0:
        return partner
    thresholds = np.minimum(IOU_THRESHOLDS, _HIGHEST_THRESHOLD)[:, None]
    free = np.ones((len(AREA_RANGES), len(IOU_THRESHOLDS), objects), bool)
    counting = ~ignored[:, None, :]
    for detection in np.flatnonzero((iou >= thresholds[0]).any(axis=1)):
        candidate = free & (iou[detection] >= thresholds)
        preferred = candidate & counting
        candidate &= preferred | ~preferred.any(axis=-1, keepdims=True)
        value = np.where(candidate, iou[detection], -1.0)
        best = objects - 1 - value[..., ::-1].argmax(axis=-1)
        taken = candidate.any(axis=-1)
        partner[..., detection] = np.where(taken, best, -1)
        area_index, threshold_index = np.nonzero(taken)
        chosen = best[area_index, threshold_index]
        free[area_index, threshold_index, chosen] = is_crowd[chosen]
    return partner


def _sampled_precision(
    true_positive: BoolArray, false_positive: BoolArray, object_count: int
) -> Float64Array:
    """Return the precision [T, 101] of detections [T, D] in descending order of score."""
    found = np.cumsum(true_positive, axis=1, dtype=np.float64)
    wrong = np.cumsum(false_positive, axis=1, dtype=np.float64)
    precision = found / (found + wrong + np.spacing(1))
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    # One more column: a recall that no detection reaches has precision 0.
    envelope = np.pad(envelope, ((0, 0), (0, 1)))
    return np.stack([
        values[np.searchsorted(recall, RECALL_POINTS, side='left')]
        for values, recall in zip(envelope, found / object_count, strict=True)
    ])


def _outside(areas: Float64Array) -> BoolArray:
    """Return bool [A, N]: whether each area lies outside each of the AREA_RANGES."""
    low, high = AREA_RANGES[:, :1], AREA_RANGES[:, 1:]
    return (areas < low) | (areas > high)
