# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Average precision and recall of tracks: greedy matching by score, then curves per class."""

from __future__ import annotations

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
class Tracks:
    """
    The detections and the objects of one class in V videos; videos with fewer are filled up.

    iou: float64 [V, D, G], 0 where filled up.
    is_detection: bool [V, D]; is_object: bool [V, G]: False where filled up.
    scores: float64 [V, D], in descending order in each video.
    detection_areas: float64 [V, D]; object_areas: float64 [V, G], mean areas [pixel].
    is_crowd: bool [V, G], to be ignored, and to be matched any number of times.
    counts_when_matched: bool [V, G]; where False, a match leaves the detection a false positive.
    """

    iou: Float64Array
    is_detection: BoolArray
    is_object: BoolArray
    scores: Float64Array
    detection_areas: Float64Array
    object_areas: Float64Array
    is_crowd: BoolArray
    counts_when_matched: BoolArray


@dataclass(frozen=True)
class Matches:
    """
    What became of the K detections of one class in all videos, video by video.

    scores: float64 [K]. ranks: int64 [K], how many detections in the video have a higher score.
    true_positive, false_positive: bool [A, T, K] for each area range and IoU threshold; neither
    is set for a detection to be ignored.
    object_count: int64 [A], objects that should have been found.
    """

    scores: Float64Array
    ranks: npt.NDArray[np.int64]
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


def match(tracks: Tracks) -> Matches:
    """Give each detection, best score of its video first, the free object it overlaps most."""
    ignored = tracks.is_crowd | _outside(tracks.object_areas)
    partner = _partners(tracks, ignored)[..., tracks.is_detection]
    found = partner >= 0
    videos, ranks = np.nonzero(tracks.is_detection)
    counted, dropped = found, np.zeros_like(found)
    if found.any():
        area_index = np.arange(len(AREA_RANGES))[:, None, None]
        counted = found & tracks.counts_when_matched[videos, partner]
        dropped = found & ignored[area_index, videos, partner]
    dropped = dropped | (~counted & _outside(tracks.detection_areas[videos, ranks])[:, None])
    return Matches(
        tracks.scores[videos, ranks], ranks, counted & ~dropped, ~counted & ~dropped,
        (tracks.is_object & ~ignored).sum(axis=(1, 2)),
    )


def accumulate(matches: Matches) -> Curves:
    """Return the curves of one class."""
    precision = np.full((len(AREA_RANGES), len(IOU_THRESHOLDS), len(RECALL_POINTS)), NOT_DEFINED)
    recall = np.full((len(AREA_RANGES), len(IOU_THRESHOLDS), len(MAX_DETECTIONS)), NOT_DEFINED)
    order = np.argsort(-matches.scores, kind='stable')
    for area in np.flatnonzero(matches.object_count):
        count, true_positive = matches.object_count[area], matches.true_positive[area]
        precision[area] = _sampled_precision(
            true_positive[:, order], matches.false_positive[area][:, order], count
        )
        for column, limit in enumerate(MAX_DETECTIONS):
            recall[area, :, column] = (true_positive & (matches.ranks < limit)).sum(axis=1) / count
    return Curves(precision, recall)


def _partners(tracks: Tracks, ignored: BoolArray) -> npt.NDArray[np.int64]:
    """
    Return the object that each detection takes, int64 [A, T, V, D], -1 for none.

    ignored: [A, V, G]. An object to be ignored is taken only if no other is left above the
    threshold. Of equal overlaps the later object wins.
    """
    videos, detections, objects = tracks.iou.shape
    thresholds = np.minimum(IOU_THRESHOLDS, _HIGHEST_THRESHOLD)[:, None, None]
    shape = len(AREA_RANGES), len(IOU_THRESHOLDS), videos
    partner = np.full((*shape, detections), -1, np.int64)
    free = np.ones((*shape, objects), bool)
    within_reach = (tracks.iou >= thresholds[0]).any(axis=2)
    for detection in np.flatnonzero(within_reach.any(axis=0)):
        chosen = np.flatnonzero(within_reach[:, detection])
        iou = tracks.iou[chosen, detection]
        candidate = free[:, :, chosen] & (iou >= thresholds)
        preferred = candidate & ~ignored[:, None, chosen]
        candidate &= preferred | ~preferred.any(axis=-1, keepdims=True)
        best = objects - 1 - np.where(candidate, iou, -1.0)[..., ::-1].argmax(axis=-1)
        taken = candidate.any(axis=-1)
        partner[:, :, chosen, detection] = np.where(taken, best, -1)
        area_index, threshold_index, index = np.nonzero(taken)
        video, best = chosen[index], best[taken]
        free[area_index, threshold_index, video, best] = tracks.is_crowd[video, best]
    return partner


def _sampled_precision(
    true_positive: BoolArray, false_positive: BoolArray, object_count: int
) -> Float64Array:
    """Return the precision [T, 101] of detections [T, D] in descending order of score."""
    found = np.cumsum(true_positive, axis=1, dtype=np.float64)
    wrong = np.cumsum(false_positive, axis=1, dtype=np.float64)
    precision = found / (found + wrong + np.spacing(1))
    # One more column: a recall that no detection reaches has precision 0.
    envelope = np.zeros((len(precision), precision.shape[1] + 1))
    envelope[:, :-1] = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    return np.stack([
        values[np.searchsorted(recall, RECALL_POINTS, side='left')]
        for values, recall in zip(envelope, found / object_count, strict=True)
    ])


def _outside(areas: Float64Array) -> BoolArray:
    """Return bool [A, ...]: whether each area lies outside each of the AREA_RANGES."""
    low, high = AREA_RANGES.T.reshape(2, -1, *(1 for _ in areas.shape))
    outside: BoolArray = (areas < low) | (areas > high)
    return outside
