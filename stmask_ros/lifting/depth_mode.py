# SPDX-License-Identifier: Apache-2.0
"""The depths of an object's own surface among those that its mask lets through."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

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
    depths: Float32Array, owners: Int64Array, core: BoolArray, count: int, discontinuity: float
) -> BoolArray:
    """
    Say which points belong to the surface of the object itself.

    The depths of each instance's core are counted in bins that grow with the distance, as do the
    gaps between objects. Bins without a gap between them are one surface; that of the most points
    is the object's. What lies before and behind it is not. Takes one pass over the points.

    depths [m], owners (0 to count - 1), core: [M]. discontinuity: width of a gap, as a share of
    the distance.
    """
    step = np.log1p(discontinuity) / _BINS_TO_A_GAP
    bins = int(np.ceil(np.log(_FARTHEST / _NEAREST) / step)) + 1
    places = np.log(np.clip(depths, _NEAREST, _FARTHEST) * np.float32(1 / _NEAREST))
    places = (places * np.float32(1 / step)).astype(np.int64)
    few = np.bincount(owners[core], minlength=count) < _FEW
    counted = core | few[owners]
    cells = owners[counted] * bins + places[counted]
    table = np.bincount(cells, minlength=count * bins).reshape(count, bins)
    first, last = _largest_runs(table)
    # Where a surface turns away, its last depths are at the edge, outside of the core.
    return np.asarray((places >= first[owners] - 1) & (places <= last[owners] + 1))


def _largest_runs(table: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Return first and last bin of the run with the most points in each row."""
    rows, bins = table.shape
    occupied = table > _SPARSE * table.max(axis=1, keepdims=True)
    near = _BINS_TO_A_GAP - 1
    bridged = np.zeros((rows, bins + near), bool)
    for shift in range(near + 1):
        bridged[:, shift:shift + bins] |= occupied
    # A run, with the bins that bridge its gaps, begins where no bridge comes from before.
    begins = bridged & ~np.pad(bridged, ((0, 0), (1, 0)))[:, :-1]
    runs = np.cumsum(begins.ravel())
    member = (bridged.ravel() * runs).reshape(rows, -1)[:, :bins]
    weights = np.bincount(member.ravel(), weights=(table * occupied).ravel())
    best = (weights[member] * occupied).argmax(axis=1)
    chosen = member[np.arange(rows), best]
    inside = occupied & (member == chosen[:, None]) & (chosen[:, None] > 0)
    empty = ~inside.any(axis=1)
    first = inside.argmax(axis=1)
    last = bins - 1 - inside[:, ::-1].argmax(axis=1)
    return np.where(empty, bins + 2, first), np.where(empty, -2, last)
