# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What one pair of masks and depth says of each instance, on its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stmask_ros.lifting.boxes import Boxes, aligned_boxes, turned_boxes
from stmask_ros.lifting.depth_mode import own_surface
from stmask_ros.lifting.grouping import Grouping
from stmask_ros.lifting.transforms import Transform, turned
from stmask_ros.lifting.views import Samples

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Float32Array = npt.NDArray[np.float32]

# One pixel is so wide at a distance of one metre [m] if nobody says it.
_PIXEL = 1 / 500


@dataclass(frozen=True)
class Sensor:
    """
    How depth is measured, and how much of it is enough.

    erosion: pixels at the edge of a mask whose depths do not say how far the object is [pixel].
    discontinuity: share of the distance that two surfaces are apart if they are two.
    least_points: of an instance, for a measurement. least_share: of the mask with depth [0..1].
    most_points: looked at of each instance, about. farthest: depth that is believed [m].
    depth_noise: standard deviation of a depth at one metre [m]; it grows with the square.
    pixel_noise: by how much masks and depth are out of line [pixel].
    shape_noise: by how much the middle of a mask wanders, as a share of its size.
    """

    erosion: int = 2
    discontinuity: float = 0.05
    least_points: int = 20
    least_share: float = 0.1
    most_points: int = 2000
    farthest: float = 60.0
    depth_noise: float = 0.002
    pixel_noise: float = 1.0
    shape_noise: float = 0.02


@dataclass(frozen=True)
class SurfacePoints:
    """
    The points of the instances' own surfaces, in the output frame.

    points: float32 [M, 3] [m]. grouping: which instance they are of.
    """

    points: Float32Array
    grouping: Grouping


@dataclass(frozen=True)
class Measurements:
    """
    N instances as they were measured, in the output frame.

    measured: bool [N], whether enough depth was seen; where not, positions, noise and boxes are
    NaN. positions: float64 [N, 3], the middle of the visible surface [m]. noise: float64
    [N, 3, 3], its covariance [m^2]. points_used: int64 [N]. valid_shares: float64 [N], share of
    the mask with valid depth [0..1], NaN for clouds. aligned, turned: boxes around the visible
    surface.
    """

    measured: BoolArray
    positions: Float64Array
    noise: Float64Array
    points_used: Int64Array
    valid_shares: Float64Array
    aligned: Boxes
    turned: Boxes


def measure(
    samples: Samples, sensor: Sensor, to_output: Transform, vertical: int
) -> tuple[Measurements, SurfacePoints]:
    """
    Return the measurements, and the points of the objects' own surfaces that they are from.

    to_output: from the image's optical frame to the output frame, at the image's stamp.
    vertical: the vertical axis of the output frame: 2, or 1 of an optical frame.
    """
    own = _own(samples, sensor).nonzero()[0]
    points, grouping = samples.points.take(own, axis=1), samples.grouping.chosen(own)
    shares = np.where(
        samples.looked_at < 0, np.nan, samples.grouping.sizes / np.maximum(samples.looked_at, 1))
    enough = (grouping.sizes >= sensor.least_points) & ~(shares < sensor.least_share)
    middles, extents = _moments(points, grouping)
    footprints = samples.footprints * middles[:, 2]
    noise = _noise(middles, extents, np.maximum(2 * footprints, middles[:, 2] * _PIXEL), sensor)
    in_output = to_output.apply(points.T).T
    lateral = np.abs(to_output.rotation[:, :2]).sum(axis=1)
    growth = footprints[:, None] * lateral
    aligned = aligned_boxes(in_output, grouping, growth)
    box = turned_boxes(in_output, grouping, aligned, growth, vertical, to_output.translation)
    positions = np.asarray(to_output.apply(middles), np.float64)
    spread = turned(noise, to_output.rotation)
    positions[~enough], spread[~enough] = np.nan, np.nan
    return Measurements(
        enough, positions, spread, grouping.sizes, shares, aligned.shown(enough),
        box.shown(enough)
    ), SurfacePoints(in_output.T, grouping)


def _own(samples: Samples, sensor: Sensor) -> BoolArray:
    depths = samples.points[2]
    own = own_surface(depths, samples.grouping, samples.core, sensor.discontinuity)
    return np.asarray(own & (depths <= sensor.farthest))


def _moments(points: Float32Array, grouping: Grouping) -> tuple[Float64Array, Float64Array]:
    """Return mean and standard deviation [N, 3] of each object's points [3, M]."""
    values = np.empty((6, points.shape[1]))
    values[:3] = points
    np.square(values[:3], out=values[3:])
    moments = (grouping.reduced(np.add, values) / np.maximum(grouping.sizes, 1)).T
    middles = moments[:, :3]
    return middles, np.sqrt(np.maximum(moments[:, 3:] - middles**2, 0))


def _noise(
    middles: Float64Array, extents: Float64Array, pixel: Float64Array, sensor: Sensor
) -> Float64Array:
    """Return covariances [N, 3, 3]: along the ray as the depth is, across it as the mask is."""
    distances = np.maximum(np.linalg.norm(middles, axis=1), 1e-6)
    rays = middles / distances[:, None]
    along = rays[:, :, None] * rays[:, None, :]
    depth = (sensor.depth_noise * middles[:, 2]**2) ** 2
    across = (sensor.pixel_noise * pixel) ** 2
    shape = (sensor.shape_noise * extents) ** 2 + 1e-8
    return np.asarray(
        depth[:, None, None] * along + across[:, None, None] * (np.eye(3) - along)
        + shape[:, :, None] * np.eye(3))
