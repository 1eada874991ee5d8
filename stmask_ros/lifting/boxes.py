# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Boxes around the points of several objects: along the axes, and turned about the vertical."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stmask_ros.lifting.grouping import Grouping

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
# Points that are so many times closer to the sides than to those of a box that faces the camera
# are of a thing with sides.
_CLEARLY_CLOSER = 3.0
# A box beside a thing's sides that is smaller than one that faces the camera, by this share.
_SMALLER = 0.97


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


def aligned_boxes(points: Float32Array, grouping: Grouping, growth: Float64Array) -> Boxes:
    """
    Return the boxes along the axes around points [3, M] of N objects.

    grouping: which object they are of. growth: [N, 3], how far a point reaches beyond its middle
    along each axis [m].
    """
    least, most = _reach(points, grouping)
    return Boxes(
        (least + most) / 2, most - least + 2 * growth,
        np.where(grouping.sizes > 0, 0.0, np.nan))


def turned_boxes(
    points: Float32Array, grouping: Grouping, aligned: Boxes, growth: Float64Array, vertical: int,
    camera: Float64Array,
) -> Boxes:
    """
    Return boxes turned about the vertical axis so that points lie close to their sides.

    Of a solid thing two sides are seen and two are not: a box along the line between the far
    corners has the same area as one along the sides. Closeness to the sides tells them apart
    (Zhang, Xu, Dong, Dolan, "Efficient L-Shape Fitting for Vehicle Detection Using Laser
    Scanners", 2017). A round thing has no sides: its box faces the camera, and so is as
    wide as the whole, though half of it is hidden.

    vertical: which axis it is (0, 1, 2). The longer horizontal side comes first among those two.
    Yaws are from -pi/2 to pi/2. aligned: the boxes along the axes. camera: where it is, [3] [m].
    See aligned_boxes.
    """
    if points.size == 0:
        return aligned
    across = [2, 0] if vertical == 1 else [0, 1]
    flat, centers, sizes = points[across], aligned.centers.copy(), aligned.sizes.copy()
    sight = centers[:, across] - camera[across]
    facing = np.arctan2(sight[:, 1], sight[:, 0])
    yaws, sided = _closest_yaws(flat, grouping, facing)
    least, most = _reach(_turned(flat, yaws, grouping), grouping)
    least_facing, most_facing = _reach(_turned(flat, facing, grouping), grouping)
    smaller = (most - least).prod(axis=1) < _SMALLER * (most_facing - least_facing).prod(axis=1)
    rounded = ~sided & ~smaller
    yaws[rounded], least[rounded], most[rounded] = (
        facing[rounded], least_facing[rounded], most_facing[rounded])
    alone = Grouping(np.ones(len(yaws), np.int64))
    centers[:, across] = _turned((least + most).T / 2, -yaws, alone).T
    sides = most - least + 2 * growth[:, across].mean(axis=1, keepdims=True)
    shorter_first = sides[:, 0] < sides[:, 1]
    sides[shorter_first] = sides[shorter_first, ::-1]
    sizes[:, across] = sides
    yaws = (yaws + np.where(shorter_first, np.pi, 0) / 2 + np.pi / 2) % np.pi - np.pi / 2
    return Boxes(centers, sizes, yaws)


def _reach(points: Float32Array, grouping: Grouping) -> tuple[Float64Array, Float64Array]:
    """Return from where to where [N, D] the points [D, M] of objects reach along each axis."""
    return (grouping.reduced(np.minimum, points).T.astype(np.float64),
            grouping.reduced(np.maximum, points).T.astype(np.float64))


def _closest_yaws(
    flat: Float32Array, grouping: Grouping, facing: Float64Array
) -> tuple[Float64Array, BoolArray]:
    """
    Return the yaws [N] at which points [2, M] are closest to the sides.

    Returns also whether there are sides: whether points are much closer to these than to those of
    a box with the yaw `facing`.
    """
    # Of an object with fewer points, some count more than once.
    among = np.arange(_FITTED_POINTS)[:, None] * grouping.sizes // _FITTED_POINTS
    x, y = flat.take(np.minimum(grouping.starts + among, flat.shape[1] - 1), axis=1)
    fitted = x + 1j * y
    every = np.arange(len(facing))
    closeness, areas = _closeness(fitted, np.tile(_COARSE_TURNS, (len(facing), 1)))
    yaws = _COARSE_TURNS[(closeness / areas**2).argmax(axis=1)]
    candidates = np.column_stack([yaws[:, None] + _FINE_TURNS, facing])
    closeness, areas = _closeness(fitted, candidates)
    best = every, (closeness / areas**2)[:, :-1].argmax(axis=1)
    return candidates[best], closeness[best] > _CLEARLY_CLOSER * closeness[:, -1]


def _closeness(
    fitted: npt.NDArray[np.complex64], yaws: Float64Array
) -> tuple[Float32Array, Float32Array]:
    """
    Return how close points are to the sides of boxes at yaws [N, A], and the boxes' areas.

    fitted: [P, N], x + iy, so that both sides' coordinates come from one product.
    """
    turned = fitted[:, :, None] * np.exp(-1j * yaws).astype(np.complex64)
    sides = turned.view(np.float32)
    least, most = sides.min(axis=0), sides.max(axis=0)
    lengths = (most - least).reshape(*yaws.shape, 2)
    areas = (lengths + np.float32(0.01)).prod(axis=2)
    nearest = np.minimum(sides - least, most - sides)
    nearest = np.minimum(nearest[..., ::2], nearest[..., 1::2])
    near = _NEAR * np.maximum(lengths.max(axis=(1, 2)), np.float32(1e-3))[:, None]
    return (near / np.maximum(nearest, near)).sum(axis=0), areas


def _turned(
    flat: npt.NDArray[Any], yaws: Float64Array, grouping: Grouping
) -> npt.NDArray[Any]:
    """Return points [2, M] as seen from axes that are turned, by a yaw [N] for each object."""
    cosines, sines = (
        grouping.spread(values.astype(flat.dtype)) for values in (np.cos(yaws), np.sin(yaws)))
    x, y = flat
    turned = np.empty_like(flat)
    np.add(x * cosines, y * sines, out=turned[0])
    np.subtract(y * cosines, x * sines, out=turned[1])
    return turned
