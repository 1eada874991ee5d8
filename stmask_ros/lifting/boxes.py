# SPDX-License-Identifier: Apache-2.0
"""Boxes around the points of several objects: along the axes, and turned about the vertical."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

# Yaws are tried with so many points of each object, coarsely and then finely.
_FITTED_POINTS = 64
_COARSE_TURNS = np.radians(np.arange(0, 90, 7.5))
_FINE_TURNS = np.radians(np.arange(-4.5, 5, 1.5))
# What is nearer to a side than this share of the box lies on it.
_NEAR = 0.02


@dataclass(frozen=True)
class Boxes:
    """
    N boxes. NaN where there is none.

    centers: float64 [N, 3] [m]. sizes: float64 [N, 3], along the box's own x, y and z [m].
    yaws: float64 [N], by how much the box is turned about the vertical axis [rad].
    """

    centers: Float64Array
    sizes: Float64Array
    yaws: Float64Array

    @classmethod
    def unknown(cls, count: int) -> Boxes:
        """Return so many boxes, all NaN."""
        return cls(
            np.full((count, 3), np.nan), np.full((count, 3), np.nan), np.full(count, np.nan))

    def chosen(self, rows: Int64Array | BoolArray) -> Boxes:
        """Return some of the boxes."""
        return Boxes(self.centers[rows], self.sizes[rows], self.yaws[rows])

    def moved(self, by: Float64Array) -> Boxes:
        """Return the boxes, moved by [N, 3] [m]."""
        return Boxes(self.centers + by, self.sizes, self.yaws)

    def shown(self, which: BoolArray) -> Boxes:
        """Return the boxes, NaN except for some."""
        return Boxes(
            np.where(which[:, None], self.centers, np.nan),
            np.where(which[:, None], self.sizes, np.nan), np.where(which, self.yaws, np.nan))

    def replaced(self, rows: Int64Array, others: Boxes) -> Boxes:
        """Return the boxes, with others in some rows."""
        centers, sizes, yaws = self.centers.copy(), self.sizes.copy(), self.yaws.copy()
        centers[rows], sizes[rows], yaws[rows] = others.centers, others.sizes, others.yaws
        return Boxes(centers, sizes, yaws)


def aligned_boxes(
    points: Float32Array, owners: Int64Array, count: int, growth: Float64Array
) -> Boxes:
    """
    Return the boxes along the axes around points [M, 3] of `count` objects.

    owners: [M], which object a point belongs to, ordered. growth: [N, 3], how far a point reaches
    beyond its middle along each axis [m].
    """
    if len(points) == 0:
        return Boxes.unknown(count)
    there, starts = np.unique(owners, return_index=True)
    least = np.minimum.reduceat(points, starts, axis=0).astype(np.float64)
    most = np.maximum.reduceat(points, starts, axis=0).astype(np.float64)
    found = Boxes((least + most) / 2, most - least + 2 * growth[there], np.zeros(len(there)))
    return Boxes.unknown(count).replaced(there, found)


def turned_boxes(
    points: Float32Array, owners: Int64Array, aligned: Boxes, growth: Float64Array, vertical: int
) -> Boxes:
    """
    Return boxes turned about the vertical axis so that points lie close to their sides.

    Of a solid thing two sides are seen and two are not: a box along the line between the far
    corners has the same area as one along the sides. Closeness to the sides tells them apart
    (Zhang, Xu, Dong, Dolan, "Efficient L-Shape Fitting for Vehicle Detection Using Laser
    Scanners", 2017); the area settles it for round things, which have no sides.

    vertical: which axis it is (0, 1, 2). The longer horizontal side comes first among those two.
    Yaws are from -pi/2 to pi/2. aligned: the boxes along the axes. See aligned_boxes.
    """
    if len(points) == 0:
        return aligned
    across = [2, 0] if vertical == 1 else [0, 1]
    flat = points[:, across]
    there, starts = np.unique(owners, return_index=True)
    rows = np.repeat(np.arange(len(there)), np.diff([*starts, len(owners)]))
    yaws = _closest_yaws(flat, rows, len(there))
    sides = _turned(flat, yaws, rows)
    least, most = np.minimum.reduceat(sides, starts), np.maximum.reduceat(sides, starts)
    middles = _turned((least + most) / 2, -yaws, np.arange(len(yaws)))
    sizes = (most - least).astype(np.float64) + 2 * growth[there][:, across].mean(
        axis=1, keepdims=True)
    shorter_first = sizes[:, 0] < sizes[:, 1]
    sizes[shorter_first] = sizes[shorter_first, ::-1]
    yaws = (yaws + np.where(shorter_first, np.pi, 0) / 2 + np.pi / 2) % np.pi - np.pi / 2
    boxes = aligned.chosen(there)
    boxes.centers[:, across], boxes.sizes[:, across] = middles, sizes
    return aligned.replaced(there, Boxes(boxes.centers, boxes.sizes, yaws))


def _closest_yaws(flat: Float32Array, rows: Int64Array, count: int) -> Float64Array:
    """Return the yaws [count], 0 to pi/2, at which points are closest to the sides."""
    sizes = np.bincount(rows, minlength=count)
    rank = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    chosen = rank % np.repeat(-(-sizes // _FITTED_POINTS), sizes) == 0
    flat, rows = flat[chosen], rows[chosen]
    yaws = np.zeros(count)
    for turns in (_COARSE_TURNS, _FINE_TURNS):
        candidates = yaws[:, None] + turns
        best = _closeness(flat, rows, candidates).argmax(axis=1)
        yaws = candidates[np.arange(count), best]
    return yaws


def _closeness(flat: Float32Array, rows: Int64Array, yaws: Float64Array) -> Float64Array:
    """Return how close points are to the sides of boxes at yaws [count, A], over area squared."""
    starts = np.unique(rows, return_index=True)[1]
    cosines, sines = np.cos(yaws).astype(np.float32), np.sin(yaws).astype(np.float32)
    x, y = flat[:, :1], flat[:, 1:]
    nearest = np.full((len(flat), yaws.shape[1]), np.inf, np.float32)
    reach, areas = np.zeros(len(yaws), np.float32), np.ones(yaws.shape, np.float32)
    for side in (x * cosines[rows] + y * sines[rows], y * cosines[rows] - x * sines[rows]):
        least, most = np.minimum.reduceat(side, starts), np.maximum.reduceat(side, starts)
        reach = np.maximum(reach, (most - least).max(axis=1))
        areas *= most - least + 0.01
        np.minimum(nearest, side - least[rows], out=nearest)
        np.minimum(nearest, most[rows] - side, out=nearest)
    near = (_NEAR * np.maximum(reach, 1e-3))[rows][:, None]
    closeness = np.add.reduceat(near / np.maximum(nearest, near), starts)
    return np.asarray(closeness / areas**2, np.float64)


def _turned(
    flat: npt.NDArray[Any], yaws: Float64Array, rows: Int64Array
) -> npt.NDArray[Any]:
    """Return points [M, 2] as seen from axes that are turned; rows: which yaw is a point's."""
    cosines, sines = np.cos(yaws).astype(flat.dtype)[rows], np.sin(yaws).astype(flat.dtype)[rows]
    x, y = flat[:, 0], flat[:, 1]
    turned = np.empty_like(flat)
    np.add(x * cosines, y * sines, out=turned[:, 0])
    np.subtract(y * cosines, x * sines, out=turned[:, 1])
    return turned
