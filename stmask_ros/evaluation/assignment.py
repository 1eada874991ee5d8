# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""One-to-one assignment of predicted to true masks in every frame of a video."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Int64Array = npt.NDArray[np.int64]


def assign_frames(
    scores: Float64Array, true_present: BoolArray, predicted_present: BoolArray
) -> Int64Array:
    """
    Return the partners, int64 [T, G], -1 for none, that make each frame's sum of scores largest.

    scores: float64 [T, G, P] >= 0, 0 where either is absent; only positive ones are assigned.
    true_present: bool [T, G]; predicted_present: bool [T, P].
    """
    truths_choose = _favourites(scores, axis=2)
    predictions_choose = _favourites(scores, axis=1)
    # Where everybody's one favourite is free there is no better sum, and no other as good.
    first = _one_to_one(truths_choose)
    chosen = np.where(first[:, None, None], truths_choose, predictions_choose)
    partners: Int64Array = np.where(chosen.any(axis=2), chosen.argmax(axis=2), -1)
    for frame in np.flatnonzero(~first & ~_one_to_one(predictions_choose)):
        partners[frame] = assign(scores[frame], true_present[frame], predicted_present[frame])
    return partners


def assign(
    scores: Float64Array, true_present: BoolArray, predicted_present: BoolArray
) -> Int64Array:
    """Return the partners [G] of one frame as assign_frames does; scores are [G, P]."""
    partners = np.full(len(scores), -1, np.int64)
    # Leaving out what is not in the frame decides ties as TrackEval does.
    rows, columns = true_present.nonzero()[0], predicted_present.nonzero()[0]
    present = scores[rows][:, columns]
    chosen_rows, chosen_columns = linear_sum_assignment(present, maximize=True)
    positive = present[chosen_rows, chosen_columns] > 0
    partners[rows[chosen_rows[positive]]] = columns[chosen_columns[positive]]
    return partners


def _favourites(scores: Float64Array, axis: int) -> BoolArray:
    favourites: BoolArray = (scores == scores.max(axis=axis, keepdims=True)) & (scores > 0)
    return favourites


def _one_to_one(chosen: BoolArray) -> BoolArray:
    one_each: BoolArray = (chosen.sum(axis=2) <= 1).all(axis=1)
    for_one: BoolArray = (chosen.sum(axis=1) <= 1).all(axis=1)
    return one_each & for_one
