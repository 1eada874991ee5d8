# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The depths of an object's own surface among those that its mask lets through."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stmask_ros.lifting.grouping import Grouping

BoolArray = npt.NDArray[np.bool_]
Float32Array = npt.NDArray[np.float32]
Int64Array = npt.NDArray[np.int64]

# Depths [m] from here to there; the first and the last bin take what is beyond.
_NEAREST, _FARTHEST = 0.05, 200.0
# Bins to a discontinuity, so that so many empty ones in a row are a gap.
_BINS_TO_A_GAP = 3
# Bins with less than this share of the fullest are empty: flying pixels between two surfaces.
_SPARSE = 0.01
# With fewer points well inside of the mask, those at its edge count as well.
_FEW = 20


def own_surface(
    depths: Float32Array, grouping: Grouping, core: BoolArray, discontinuity: float
) -> BoolArray:
    """
    Say which points belong to the surface of the object itself.

    The depths of each instance's core are counted in bins that grow with the distance, as do the
    gaps between objects. Bins without a gap between them are one surface; that of the most points
    is the object's. What lies before and behind it is not. Takes one pass over the points.

    depths [m], core: [M]. grouping: which instance they are of. discontinuity: width of a gap, as
    a share of the distance.
    """
    step = np.log1p(discontinuity) / _BINS_TO_A_GAP
    # Behind the last bin of an instance, so many empty ones that no run goes on into the next.
    bins = int(np.ceil(np.log(_FARTHEST / _NEAREST) / step)) + 1 + _BINS_TO_A_GAP
    shape = len(grouping), bins
    places = np.log(np.clip(depths, _NEAREST, _FARTHEST) * np.float32(1 / _NEAREST))
    cells = (places * np.float32(1 / step)).astype(np.int64)
    cells += grouping.spread(np.arange(len(grouping)) * bins)
    table = _table(cells[core], shape)
    few = table.sum(axis=1) < _FEW
    if few.any():
        table[few] = _table(cells, shape)[few]
    first, last = _largest_runs(table)
    # Where a surface turns away, its last depths are at the edge, outside of the core.
    near, far = grouping.spread(first - 1), grouping.spread(last + 1)
    return np.asarray((cells >= near) & (cells <= far))


def _table(cells: Int64Array, shape: tuple[int, int]) -> Int64Array:
    return np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)


def _largest_runs(table: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Return first and last cell, row by row, of the run with the most points in each row."""
    rows, bins = table.shape
    occupied = (table > _SPARSE * table.max(axis=1, keepdims=True)).ravel().nonzero()[0]
    begins, ends = np.ones((2, len(occupied)), bool)
    begins[1:] = ends[:-1] = occupied[1:] - occupied[:-1] > _BINS_TO_A_GAP
    weights = np.add.reduceat(table.ravel()[occupied], begins.nonzero()[0])
    firsts, lasts = occupied[begins], occupied[ends]
    owners = firsts // bins
    order = np.lexsort((-weights, owners))
    there, largest = np.unique(owners[order], return_index=True)
    first, last = np.full(rows, -2), np.full(rows, -4)
    first[there], last[there] = firsts[order[largest]], lasts[order[largest]]
    return first, last
