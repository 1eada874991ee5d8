# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Identity metrics: does an object keep one id? HOTA, CLEAR MOT and IDF1 as TrackEval has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from stmask_ros.evaluation.dataset import Dataset, PredictedTrack
from stmask_ros.evaluation.identity_counts import IdentityCounts, count_identities
from stmask_ros.evaluation.identity_groups import batches
from stmask_ros.evaluation.video_iou import VideoOverlap, measure_overlaps


@dataclass(frozen=True)
class IdentityScores:
    """
    Scores over all videos; ratios in [0, 1], but mota has no lower bound.

    hota to loca: means over 19 IoU thresholds, 0.05 to 0.95. mota, motp and the clear_ counts,
    id_switches, mostly_tracked (over 80 % of its frames), partly_tracked, mostly_lost (below
    20 %) and fragmentations: CLEAR MOT at IoU 0.5. idf1 to idfn: IoU 0.5.
    """

    hota: float
    deta: float
    assa: float
    detre: float
    detpr: float
    assre: float
    asspr: float
    loca: float
    mota: float
    motp: float
    id_switches: float
    clear_tp: float
    clear_fp: float
    clear_fn: float
    mostly_tracked: float
    partly_tracked: float
    mostly_lost: float
    fragmentations: float
    idf1: float
    idp: float
    idr: float
    idtp: float
    idfp: float
    idfn: float


# Summed where scores of classes are averaged.
_COUNTS = frozenset({
    'id_switches', 'clear_tp', 'clear_fp', 'clear_fn', 'mostly_tracked', 'partly_tracked',
    'mostly_lost', 'fragmentations', 'idtp', 'idfp', 'idfn',
})


@dataclass(frozen=True)
class IdentityReport:
    """
    What evaluate_identity returns.

    per_category: by category id. class_average: ratios averaged over all classes (one without
    objects and predictions scores 0), counts summed. detection_average: scores of the summed
    counts, so that each mask weighs the same.
    """

    per_category: Mapping[int, IdentityScores]
    class_average: IdentityScores
    detection_average: IdentityScores


def evaluate_identity(
    dataset: Dataset,
    predictions: Iterable[PredictedTrack],
    *,
    score_threshold: float | None = None,
    overlaps: Sequence[VideoOverlap] | None = None,
) -> IdentityReport:
    """
    Score how well predicted tracks keep their objects apart, within each class.

    score_threshold: predictions with a lower score are left out. Without it every hypothesis
    counts, and those with low scores are false positives that dominate MOTA.
    overlaps: from measure_overlaps with the same dataset and predictions, to share that work.
    """
    if overlaps is None:
        overlaps = measure_overlaps(dataset, predictions, within_classes=True)
    rows = {category.id: row for row, category in enumerate(dataset.categories)}
    counts = IdentityCounts.none(len(rows))
    for batch in batches(overlaps, rows, score_threshold):
        counts += count_identities(batch.overlaps).summed(batch.rows, len(rows))
    per_category = dict(zip(rows, _scores(counts), strict=True))
    total = counts.summed(np.zeros(len(rows), np.int64), 1)
    return IdentityReport(per_category, _class_average(per_category.values()), *_scores(total))


def _scores(counts: IdentityCounts) -> list[IdentityScores]:
    """Return the scores of every row of the counts."""
    hota, clear, matched = counts.hota, counts.clear, counts.id_matches
    true, predicted = counts.true_masks, counts.predicted_masks
    some_true, some_predicted = np.maximum(1.0, true), np.maximum(1.0, predicted)
    found = np.maximum(1.0, hota.matches)
    detection = hota.matches / np.maximum(1.0, (true + predicted)[:, None] - hota.matches)
    scores = {
        'hota': np.sqrt(detection * (hota.association / found)).mean(axis=1),
        'deta': detection.mean(axis=1),
        'assa': (hota.association / found).mean(axis=1),
        'detre': (hota.matches / some_true[:, None]).mean(axis=1),
        'detpr': (hota.matches / some_predicted[:, None]).mean(axis=1),
        'assre': (hota.recall / found).mean(axis=1),
        'asspr': (hota.precision / found).mean(axis=1),
        # Where no pair reaches the threshold there is nothing to be inaccurate about.
        'loca': np.where(hota.matches > 0, hota.overlap / found, 1.0).mean(axis=1),
        'mota': (2 * clear.matches - predicted - clear.id_switches) / some_true,
        'motp': clear.overlap / np.maximum(1.0, clear.matches),
        'id_switches': clear.id_switches,
        'clear_tp': clear.matches,
        'clear_fp': predicted - clear.matches,
        'clear_fn': true - clear.matches,
        'mostly_tracked': clear.mostly_tracked,
        'partly_tracked': clear.partly_tracked,
        'mostly_lost': clear.mostly_lost,
        'fragmentations': clear.fragmentations,
        'idf1': matched / np.maximum(1.0, (true + predicted) / 2),
        'idp': matched / some_predicted,
        'idr': matched / some_true,
        'idtp': matched,
        'idfp': predicted - matched,
        'idfn': true - matched,
    }
    return [
        IdentityScores(**dict(zip(scores, row, strict=True)))
        for row in np.stack(list(scores.values()), axis=1).tolist()
    ]


def _class_average(classes: Iterable[IdentityScores]) -> IdentityScores:
    members = list(classes)
    combined = {}
    for field in fields(IdentityScores):
        total = float(sum(getattr(scores, field.name) for scores in members))
        combined[field.name] = total if field.name in _COUNTS else total / max(1, len(members))
    return IdentityScores(**combined)
