"""One-to-one assignment of predicted to true masks in every frame of a video."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Int64Array = npt.NDArray[np.int64]


def contested_frames(scores: Float64Array) -> BoolArray:
    """Return bool [T]: the frames of scores [T, G, P] where more than one assignment exists."""
    possible = scores > 0
    by_truth = (possible.sum(axis=2) > 1).any(axis=1)
    by_prediction = (possible.sum(axis=1) > 1).any(axis=1)
    contested: BoolArray = by_truth | by_prediction
    return contested


def only_partners(scores: Float64Array) -> Int64Array:
    """Return for each truth the prediction with a positive score, int64 [T, G], -1 if none."""
    partners: Int64Array = np.where((scores > 0).any(axis=2), scores.argmax(axis=2), -1)
    return partners


def best_partners(scores: Float64Array, rows: Int64Array, columns: Int64Array) -> Int64Array:
    """
    Return the partners, int64 [G], -1 for none, that make the sum of scores largest.

    scores: float64 [G, P] >= 0. rows, columns: the truths and predictions that are in the frame;
    leaving out the others decides ties as TrackEval does.
    """
    partners = np.full(len(scores), -1, np.int64)
    present = scores[np.ix_(rows, columns)]
    chosen_rows, chosen_columns = linear_sum_assignment(present, maximize=True)
    positive = present[chosen_rows, chosen_columns] > 0
    partners[rows[chosen_rows[positive]]] = columns[chosen_columns[positive]]
    return partners
