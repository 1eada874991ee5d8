# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The tracks of each class in each video, put together to batches of groups of similar size."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stmask_ros.evaluation.identity_counts import FrameOverlaps
from stmask_ros.evaluation.video_iou import VideoOverlap

Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

# More groups at once are no faster, and take more memory: values of an array.
_BATCH_SIZE = 2**20


@dataclass(frozen=True)
class Batch:
    """Groups of tracks, and the class of each: int64 [N], its row in the order of the classes."""

    rows: npt.NDArray[np.int64]
    overlaps: FrameOverlaps


@dataclass(frozen=True)
class _Group:
    """The tracks of one class in one video, shaped as in FrameOverlaps but for the first axis."""

    row: int
    iou: Float64Array
    true_present: BoolArray
    predicted_present: BoolArray


def batches(
    overlaps: Iterable[VideoOverlap], row_of_category: Mapping[int, int],
    score_threshold: float | None,
) -> Iterator[Batch]:
    """
    Return all groups with a track, in batches.

    row_of_category: the classes; tracks of others are left out, and so are predictions with a
    score below the threshold.
    """
    waiting: defaultdict[tuple[int, ...], list[_Group]] = defaultdict(list)
    for overlap in overlaps:
        for group in _groups(overlap, row_of_category, score_threshold):
            shape = tuple(_power_of_two(side) for side in group.iou.shape)
            waiting[shape].append(group)
            if len(waiting[shape]) * np.prod(shape) >= _BATCH_SIZE:
                yield _batch(waiting.pop(shape))
    yield from map(_batch, waiting.values())


def _groups(
    overlap: VideoOverlap, row_of_category: Mapping[int, int], score_threshold: float | None
) -> Iterator[_Group]:
    truths: defaultdict[int, list[int]] = defaultdict(list)
    predictions: defaultdict[int, list[int]] = defaultdict(list)
    for index, truth in enumerate(overlap.truths):
        truths[truth.category_id].append(index)
    for index, prediction in enumerate(overlap.predictions):
        if score_threshold is None or prediction.score >= score_threshold:
            predictions[prediction.category_id].append(index)
    iou = overlap.frame_iou()
    for key in sorted(row_of_category.keys() & {*truths, *predictions}):
        yield _Group(
            row_of_category[key],
            iou[:, truths[key]][:, :, predictions[key]],
            overlap.true_stack.present[:, truths[key]],
            overlap.predicted_stack.present[:, predictions[key]],
        )


def _batch(groups: Sequence[_Group]) -> Batch:
    """Fill all groups up to the size of the largest with what is absent."""
    largest = np.max([group.iou.shape for group in groups], axis=0)
    frames, truths, predictions = np.maximum(1, largest).tolist()
    iou = np.zeros((len(groups), frames, truths, predictions))
    true_present = np.zeros((len(groups), frames, truths), bool)
    predicted_present = np.zeros((len(groups), frames, predictions), bool)
    for index, group in enumerate(groups):
        length, rows, columns = group.iou.shape
        iou[index, :length, :rows, :columns] = group.iou
        true_present[index, :length, :rows] = group.true_present
        predicted_present[index, :length, :columns] = group.predicted_present
    rows_of_classes = np.array([group.row for group in groups], np.int64)
    return Batch(rows_of_classes, FrameOverlaps(iou, true_present, predicted_present))


def _power_of_two(number: int) -> int:
    """Return the lowest power of two that is no less than a number."""
    return 1 << max(0, number - 1).bit_length()
