# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The YouTube-VIS metric: average precision and recall of whole tracks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from stmask_ros.evaluation.average_precision import (
    IOU_THRESHOLDS,
    MAX_DETECTIONS,
    NOT_DEFINED,
    Curves,
    Tracks,
    accumulate,
    match,
)
from stmask_ros.evaluation.dataset import Dataset, PredictedTrack
from stmask_ros.evaluation.video_iou import VideoOverlap, indices_by_category, measure_overlaps

Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class VisSummary:
    """
    The numbers that papers print, in [0, 1]; -1 where no object qualifies.

    ap: mean over IoU 0.50 to 0.95; ap50, ap75: at that IoU. Small objects are below 128 x 128
    pixels on average, large ones above 256 x 256. ar1, ar10, ar100: mean recall of the best 1,
    10 or 100 detections of each class in each video.
    """

    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ar1: float
    ar10: float
    ar100: float
    ar_small: float
    ar_medium: float
    ar_large: float


@dataclass(frozen=True)
class VisReport:
    """
    What evaluate_vis returns.

    summary: mean over the classes. class_agnostic: all classes taken as one; None if not asked
    for.
    per_category: by category id. ap_per_iou: by IoU threshold, mean over the classes.
    iou_matrices: by (video id, category id), float64 [detections, objects]: the best 100
    detections in descending order of score, objects in the order of the file; only pairs of a
    video and a category with a detection or an object.
    """

    summary: VisSummary
    class_agnostic: VisSummary | None
    per_category: Mapping[int, VisSummary]
    ap_per_iou: Mapping[float, float]
    iou_matrices: Mapping[tuple[int, int], Float64Array]


@dataclass(frozen=True)
class _Video:
    """The tracks of one video; the fields are those of `Tracks`, for all classes and unsorted."""

    video_id: int
    rows: Mapping[int, Sequence[int]]
    columns: Mapping[int, Sequence[int]]
    iou: Float64Array
    scores: Float64Array
    detection_areas: Float64Array
    object_areas: Float64Array
    is_crowd: BoolArray
    counts_when_matched: BoolArray

    @classmethod
    def of(cls, overlap: VideoOverlap, reference_quirks: bool) -> _Video:
        """Take what the metric needs."""
        truths = overlap.truths
        return cls(
            overlap.video_id,
            indices_by_category(overlap.predictions),
            indices_by_category(truths),
            overlap.video_iou(reference_quirks),
            np.array([prediction.score for prediction in overlap.predictions]),
            overlap.predicted_stack.average_areas(),
            np.array([truth.average_area for truth in truths]),
            np.array([truth.is_crowd for truth in truths], bool),
            np.array([truth.id != 0 or not reference_quirks for truth in truths], bool),
        )

    def group(self, category_ids: Iterable[int]) -> _Group:
        """Return the tracks of some classes, the best detections in descending order of score."""
        keys = tuple(category_ids)
        rows = np.array([row for key in keys for row in self.rows.get(key, ())], np.int64)
        order = np.argsort(-self.scores[rows], kind='stable')[:MAX_DETECTIONS[-1]]
        columns = [column for key in keys for column in self.columns.get(key, ())]
        return _Group(self, rows[order], np.array(columns, np.int64))


@dataclass(frozen=True)
class _Group:
    """Detections and objects of one video that may match each other: int64 indices of its own."""

    video: _Video
    rows: Int64Array
    columns: Int64Array

    @cached_property
    def iou(self) -> Float64Array:
        """Float64 [detections, objects]."""
        return self.video.iou[self.rows[:, None], self.columns]


def evaluate_vis(
    dataset: Dataset,
    predictions: Iterable[PredictedTrack],
    *,
    class_agnostic: bool = True,
    reference_quirks: bool = False,
    overlaps: Sequence[VideoOverlap] | None = None,
) -> VisReport:
    """
    Score predicted tracks as the YouTube-VIS servers do.

    class_agnostic: score all classes taken as one, too. Without it, only pairs of the same class
    have to be compared, which is faster.
    reference_quirks: reproduce three bugs of the reference. A detection matched to the object
    with id 0 is a false positive; frames where the masks are of images of different sizes, and
    frames that only one of the two tracks lists, cost nothing.
    overlaps: from measure_overlaps with the same arguments, to share that work.
    Predictions of a category that the data set does not have are left out. No predictions are
    fine, and score 0.
    """
    if overlaps is None:
        overlaps = measure_overlaps(dataset, predictions, within_classes=not class_agnostic)
    videos = [_Video.of(overlap, reference_quirks) for overlap in overlaps]
    by_category = {
        category.id: [
            video.group([category.id]) for video in videos
            if category.id in video.rows or category.id in video.columns
        ]
        for category in dataset.categories
    }
    curves = {key: accumulate(match(_stack(groups))) for key, groups in by_category.items()}
    pooled = [video.group(by_category) for video in videos] if class_agnostic else None
    return _report(
        curves, None if pooled is None else accumulate(match(_stack(pooled))), by_category
    )


def _stack(groups: Sequence[_Group]) -> Tracks:
    detections = max((len(group.rows) for group in groups), default=0)
    objects = max((len(group.columns) for group in groups), default=0)
    of_detections, of_objects = (len(groups), detections), (len(groups), objects)
    tracks = Tracks(
        np.zeros((*of_detections, objects)),
        np.zeros(of_detections, bool), np.zeros(of_objects, bool),
        np.zeros(of_detections), np.zeros(of_detections), np.zeros(of_objects),
        np.zeros(of_objects, bool), np.zeros(of_objects, bool),
    )
    for index, group in enumerate(groups):
        video, rows, columns = group.video, group.rows, group.columns
        tracks.iou[index, :len(rows), :len(columns)] = group.iou
        tracks.is_detection[index, :len(rows)] = True
        tracks.is_object[index, :len(columns)] = True
        tracks.scores[index, :len(rows)] = video.scores[rows]
        tracks.detection_areas[index, :len(rows)] = video.detection_areas[rows]
        tracks.object_areas[index, :len(columns)] = video.object_areas[columns]
        tracks.is_crowd[index, :len(columns)] = video.is_crowd[columns]
        tracks.counts_when_matched[index, :len(columns)] = video.counts_when_matched[columns]
    return tracks


def _report(
    curves: Mapping[int, Curves],
    class_agnostic: Curves | None,
    groups: Mapping[int, Sequence[_Group]],
) -> VisReport:
    return VisReport(
        summary=_summarise(list(curves.values())),
        class_agnostic=None if class_agnostic is None else _summarise([class_agnostic]),
        per_category={key: _summarise([curve]) for key, curve in curves.items()},
        ap_per_iou={
            round(float(threshold), 2): _mean([curve.precision[0, index]
                                               for curve in curves.values()])
            for index, threshold in enumerate(IOU_THRESHOLDS)
        },
        iou_matrices={
            (group.video.video_id, key): group.iou
            for key, members in groups.items() for group in members
        },
    )


def _summarise(classes: Sequence[Curves]) -> VisSummary:
    half = int(np.argmin(np.abs(IOU_THRESHOLDS - 0.5)))
    three_quarters = int(np.argmin(np.abs(IOU_THRESHOLDS - 0.75)))
    precision = [_mean([curve.precision[area] for curve in classes]) for area in range(4)]
    recall = [_mean([curve.recall[area, :, -1] for curve in classes]) for area in range(4)]
    return VisSummary(
        ap=precision[0],
        ap50=_mean([curve.precision[0, half] for curve in classes]),
        ap75=_mean([curve.precision[0, three_quarters] for curve in classes]),
        ap_small=precision[1],
        ap_medium=precision[2],
        ap_large=precision[3],
        ar1=_mean([curve.recall[0, :, 0] for curve in classes]),
        ar10=_mean([curve.recall[0, :, 1] for curve in classes]),
        ar100=recall[0],
        ar_small=recall[1],
        ar_medium=recall[2],
        ar_large=recall[3],
    )


def _mean(values: Sequence[Float64Array]) -> float:
    """Return the mean of all entries that are defined, NOT_DEFINED if none is."""
    flat = np.concatenate([value.ravel() for value in values]) if values else np.empty(0)
    defined = flat[flat > NOT_DEFINED]
    return float(defined.mean()) if defined.size else NOT_DEFINED
