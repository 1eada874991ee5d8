# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The same metrics as plain loops over pycocotools calls: what the speed is compared with."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from scipy.optimize import linear_sum_assignment

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
LIMITS = (1, 10, 100)
RANGES = ((0, 1e10), (0, 128**2), (128**2, 256**2), (256**2, 1e10))
ALPHAS = np.arange(0.05, 0.99, 0.05)
EPSILON = np.finfo(float).eps


def load(truth_path: Path, prediction_path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Read both files; masks become compressed RLE, with their areas."""
    truth = json.loads(truth_path.read_text())
    sizes = {video['id']: (video['height'], video['width']) for video in truth['videos']}
    for track in truth['annotations']:
        track['masks'] = [
            None if entry is None else coco_mask.frPyObjects(entry, *sizes[track['video_id']])
            for entry in track['segmentations']
        ]
        track['mean'] = _mean_area(track['areas'])
    predictions = json.loads(prediction_path.read_text())
    for key, track in enumerate(predictions, 1):
        track['id'] = key
        track['masks'] = [entry or None for entry in track['segmentations']]
        track['mean'] = _mean_area([
            0 if mask is None else int(coco_mask.area(mask)) for mask in track['masks']
        ])
    return truth, predictions


def average_precision(
    truth: dict[str, Any], predictions: list[dict[str, Any]], use_categories: bool = True
) -> tuple[float, ...]:
    """Return the twelve numbers over all classes, or with all classes taken as one."""
    categories = sorted(entry['id'] for entry in truth['categories']) if use_categories else [0]
    tracks = _group(truth['annotations'], use_categories)
    hypotheses = _group(predictions, use_categories)
    ious = {}
    for key, detections in hypotheses.items():
        detections.sort(key=lambda track: -track['score'])
        del detections[100:]
        ious[key] = [[_track_iou(d['masks'], g['masks']) for g in tracks[key]] for d in detections]
    shape = len(categories), len(RANGES), len(LIMITS), len(THRESHOLDS)
    precision, recall = np.full((*shape, len(RECALLS)), -1.0), np.full(shape, -1.0)
    for row, category in enumerate(categories):
        for column, area in enumerate(RANGES):
            results = [
                _match(hypotheses[video, category], tracks[video, category],
                       ious.get((video, category)), area)
                for video in sorted(entry['id'] for entry in truth['videos'])
                if hypotheses[video, category] or tracks[video, category]
            ]
            for index, limit in enumerate(LIMITS):
                curves = _curves(results, limit)
                if curves is not None:
                    precision[row, column, index], recall[row, column, index] = curves
    return (
        _mean(precision[:, 0, 2]), _mean(precision[:, 0, 2, 0]), _mean(precision[:, 0, 2, 5]),
        *(_mean(precision[:, area, 2]) for area in (1, 2, 3)),
        *(_mean(recall[:, 0, limit]) for limit in (0, 1, 2)),
        *(_mean(recall[:, area, 2]) for area in (1, 2, 3)),
    )


def _mean(values: Any) -> float:
    return float(values[values > -1].mean()) if (values > -1).any() else -1.0


def _group(tracks: list[dict[str, Any]], use_categories: bool) -> Any:
    groups = defaultdict(list)
    for track in tracks:
        groups[track['video_id'], track['category_id'] if use_categories else 0].append(track)
    return groups


def _mean_area(areas: list[float | None]) -> float:
    shown = [area for area in areas if area]
    return sum(shown) / len(shown) if shown else 0.0


def _track_iou(detection: list[Any], truth: list[Any]) -> float:
    intersection = union = 0
    for mask, other in zip(detection, truth, strict=False):
        if mask and other:
            intersection += coco_mask.area(coco_mask.merge([mask, other], intersect=True))
            union += coco_mask.area(coco_mask.merge([mask, other], intersect=False))
        elif mask or other:
            union += coco_mask.area(mask or other)
    return intersection / union if union else 0.0


def _match(detections: list[Any], truths: list[Any], iou: Any, area: Any) -> Any:
    outside = [not area[0] <= truth['mean'] <= area[1] for truth in truths]
    order = sorted(range(len(truths)), key=lambda index: outside[index])
    found = np.zeros((len(THRESHOLDS), len(detections)), int)
    ignored = np.zeros((len(THRESHOLDS), len(detections)), bool)
    for row, threshold in enumerate(THRESHOLDS):
        taken = set()
        for column, detection in enumerate(detections):
            best, chosen = min(threshold, 1 - 1e-10), None
            for index in order:
                if index in taken:
                    continue
                if chosen is not None and not outside[chosen] and outside[index]:
                    break
                if iou[column][index] >= best:
                    best, chosen = iou[column][index], index
            if chosen is not None:
                taken.add(chosen)
                found[row, column] = 1
                ignored[row, column] = outside[chosen]
            else:
                ignored[row, column] = not area[0] <= detection['mean'] <= area[1]
    scores = np.array([detection['score'] for detection in detections])
    return scores, found, ignored, len(truths) - sum(outside)


def _curves(results: list[Any], limit: int) -> Any:
    count = sum(result[3] for result in results)
    if count == 0:
        return None
    order = np.argsort(-np.concatenate([result[0][:limit] for result in results]),
                       kind='mergesort')
    found = np.concatenate([result[1][:, :limit] for result in results], axis=1)[:, order]
    ignored = np.concatenate([result[2][:, :limit] for result in results], axis=1)[:, order]
    curves, recalls = np.zeros((len(THRESHOLDS), len(RECALLS))), np.zeros(len(THRESHOLDS))
    for row in range(len(THRESHOLDS)):
        right = np.cumsum(found[row].astype(bool) & ~ignored[row])
        wrong = np.cumsum(~found[row].astype(bool) & ~ignored[row])
        precision = (right / (right + wrong + np.spacing(1))).tolist()
        recalls[row] = right[-1] / count if len(right) else 0
        for index in range(len(precision) - 1, 0, -1):
            precision[index - 1] = max(precision[index - 1], precision[index])
        for column, index in enumerate(np.searchsorted(right / count, RECALLS)):
            if index < len(precision):
                curves[row, column] = precision[index]
    return curves, recalls


def identity(
    truth: dict[str, Any], predictions: list[dict[str, Any]]
) -> tuple[float, ...]:
    """
    Return HOTA, DetA, AssA, MOTA, IDF1 and switches: averaged over classes, and of all masks.

    In the order of TrackEval: all pairs of every frame once, then each class in each video picks
    its own masks frame by frame, and every metric walks the frames; one without either is quick.
    """
    keys = [category['id'] for category in truth['categories']]
    counts = {key: (np.zeros((4, len(ALPHAS))), np.zeros(4), np.zeros(3)) for key in keys}
    for video in truth['videos']:
        tracks = [t for t in truth['annotations'] if t['video_id'] == video['id']]
        hypotheses = [t for t in predictions if t['video_id'] == video['id']]
        raw = _frames(tracks, hypotheses, video['length'])
        classes = np.array([t['category_id'] for t in tracks], int)
        others = np.array([t['category_id'] for t in hypotheses], int)
        for key in keys:
            frames = _of_class(raw, classes == key, others == key)
            for total, value in zip(
                counts[key], _count(frames, (len(tracks), len(hypotheses))), strict=True
            ):
                total += value
    by_class = np.array([_scores(*counts[key]) for key in keys])
    everything = _scores(*(sum(column) for column in zip(*counts.values(), strict=True)))
    return (*by_class[:, :5].mean(axis=0).tolist(), by_class[:, 5].sum(), *everything)


def _count(frames: list[Any], shape: tuple[int, int]) -> Any:
    truths, predictions = (sum(map(len, column)) for column in list(zip(*frames, strict=True))[:2])
    if truths and predictions:
        return _hota(frames, shape), _clear(frames, shape), _identity(frames, shape)
    nothing = np.zeros((4, len(ALPHAS)))
    nothing[1:3] = [[predictions], [truths]]
    return nothing, (0, predictions, truths, 0), (0, truths, predictions)


def _scores(hota: Any, clear: Any, matched: Any) -> tuple[float, ...]:
    right, wrong, missed, association = hota
    detection = right / np.maximum(1, right + wrong + missed)
    association = association / np.maximum(1, right)
    mota = (clear[0] - clear[1] - clear[3]) / max(1, clear[0] + clear[2])
    idf1 = matched[0] / max(1, matched[1] / 2 + matched[2] / 2)
    return (
        np.sqrt(detection * association).mean(), detection.mean(), association.mean(),
        mota, idf1, clear[3],
    )


def _of_class(frames: list[Any], is_class: Any, is_class_too: Any) -> list[Any]:
    chosen = []
    for rows, columns, iou in frames:
        mine, theirs = is_class[rows], is_class_too[columns]
        chosen.append((rows[mine], columns[theirs], iou[mine][:, theirs]))
    return chosen


def _frames(truths: list[Any], predictions: list[Any], length: int) -> list[Any]:
    frames = []
    for frame in range(length):
        rows = np.array([i for i, t in enumerate(truths) if t['masks'][frame]], int)
        columns = np.array([i for i, t in enumerate(predictions) if t['masks'][frame]], int)
        iou = np.zeros((len(rows), len(columns)))
        if iou.size:
            masks = [truths[row]['masks'][frame] for row in rows]
            others = [predictions[column]['masks'][frame] for column in columns]
            iou = coco_mask.iou(masks, others, [False] * len(others))
        frames.append((rows, columns, iou))
    return frames


def _hota(frames: list[Any], shape: tuple[int, int]) -> Any:
    totals = np.zeros((4, len(ALPHAS)))
    potential, lengths, others = np.zeros(shape), np.zeros((shape[0], 1)), np.zeros((1, shape[1]))
    for rows, columns, iou in frames:
        total = iou.sum(0)[None, :] + iou.sum(1)[:, None] - iou
        share = np.zeros_like(iou)
        share[total > EPSILON] = iou[total > EPSILON] / total[total > EPSILON]
        potential[rows[:, None], columns[None, :]] += share
        lengths[rows] += 1
        others[0, columns] += 1
    alignment = potential / np.maximum(1, lengths + others - potential)
    pairs = [np.zeros(shape) for _ in ALPHAS]
    for rows, columns, iou in frames:
        if not iou.size:
            totals[1] += len(columns)
            totals[2] += len(rows)
            continue
        chosen = linear_sum_assignment(-alignment[rows[:, None], columns[None, :]] * iou)
        for index, alpha in enumerate(ALPHAS):
            above = iou[chosen] >= alpha - EPSILON
            pairs[index][rows[chosen[0][above]], columns[chosen[1][above]]] += 1
            totals[0, index] += above.sum()
            totals[1, index] += len(columns) - above.sum()
            totals[2, index] += len(rows) - above.sum()
    for index, count in enumerate(pairs):
        totals[3, index] = (count * count / np.maximum(1, lengths + others - count)).sum()
    return totals


def _clear(frames: list[Any], shape: tuple[int, int]) -> Any:
    counts = np.zeros(4)
    last, previous = np.full(shape[0], np.nan), np.full(shape[0], np.nan)
    for rows, columns, iou in frames:
        if not iou.size:
            counts += (0, len(columns), len(rows), 0)
            continue
        scores = 1000 * (columns[None, :] == previous[rows][:, None]) + iou
        scores[iou < 0.5 - EPSILON] = 0
        chosen = linear_sum_assignment(-scores)
        above = scores[chosen] > EPSILON
        truths, partners = rows[chosen[0][above]], columns[chosen[1][above]]
        switched = ~np.isnan(last[truths]) & (last[truths] != partners)
        counts += (len(truths), len(columns) - len(truths), len(rows) - len(truths),
                   switched.sum())
        last[truths] = partners
        previous[:] = np.nan
        previous[truths] = partners
    return counts


def _identity(frames: list[Any], shape: tuple[int, int]) -> Any:
    common = np.zeros(shape)
    truths = predictions = 0
    for rows, columns, iou in frames:
        common[rows[:, None], columns[None, :]] += iou >= 0.5
        truths += len(rows)
        predictions += len(columns)
    return common[linear_sum_assignment(-common)].sum(), truths, predictions
