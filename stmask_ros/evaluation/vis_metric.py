"""The YouTube-VIS metric: average precision and recall of whole tracks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stmask_ros.evaluation.average_precision import (
    IOU_THRESHOLDS,
    MAX_DETECTIONS,
    NOT_DEFINED,
    Curves,
    Matches,
    Objects,
    accumulate,
    match,
)
from stmask_ros.evaluation.dataset import (
    Dataset,
    GroundTruthTrack,
    PredictedTrack,
    average_area,
)
from stmask_ros.evaluation.video_iou import VideoOverlap, measure_overlaps

Float64Array = npt.NDArray[np.float64]


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
class _Group:
    """Detections and objects of one video that may match each other."""

    video_id: int
    category_id: int
    iou: Float64Array
    matches: Matches


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
    category_ids = [category.id for category in dataset.categories]
    by_category: defaultdict[int, list[_Group]] = defaultdict(list)
    pooled: list[Matches] = []
    for overlap in overlaps:
        iou = overlap.video_iou(reference_quirks)
        rows = _indices_by_category(overlap.predictions)
        columns = _indices_by_category(overlap.truths)
        for key in category_ids:
            if key in rows or key in columns:
                group = _group(overlap, iou, rows[key], columns[key], key, reference_quirks)
                by_category[key].append(group)
        if class_agnostic:
            all_rows = [row for key in category_ids for row in rows[key]]
            all_columns = [column for key in category_ids for column in columns[key]]
            pooled.append(
                _group(overlap, iou, all_rows, all_columns, 0, reference_quirks).matches
            )
    curves = {
        key: accumulate([group.matches for group in by_category[key]]) for key in category_ids
    }
    return _report(curves, accumulate(pooled) if class_agnostic else None, by_category)


def _indices_by_category(
    tracks: Sequence[GroundTruthTrack | PredictedTrack]
) -> defaultdict[int, list[int]]:
    found: defaultdict[int, list[int]] = defaultdict(list)
    for index, track in enumerate(tracks):
        found[track.category_id].append(index)
    return found


def _group(
    overlap: VideoOverlap,
    iou: Float64Array,
    rows: Sequence[int],
    columns: Sequence[int],
    category_id: int,
    reference_quirks: bool,
) -> _Group:
    all_scores = np.array([overlap.predictions[row].score for row in rows])
    order = np.argsort(-all_scores, kind='stable')[:MAX_DETECTIONS[-1]]
    detections = [overlap.predictions[rows[index]] for index in order]
    truths = [overlap.truths[column] for column in columns]
    objects = Objects(
        np.array([truth.average_area for truth in truths]),
        np.array([truth.is_crowd for truth in truths], bool),
        np.array([truth.id != 0 or not reference_quirks for truth in truths], bool),
    )
    areas = [average_area(detection.sequence.areas.tolist()) for detection in detections]
    chosen = [rows[index] for index in order]
    part = iou[chosen][:, columns] if chosen and columns else np.zeros((len(chosen), len(truths)))
    matches = match(part, all_scores[order], np.array(areas), objects)
    return _Group(overlap.video_id, category_id, part, matches)


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
            (group.video_id, group.category_id): group.iou
            for members in groups.values() for group in members
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
