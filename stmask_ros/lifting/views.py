# SPDX-License-Identifier: Apache-2.0
"""How a depth image or a cloud sees the pixels of the image that the masks belong to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from stmask_ros.lifting.camera import Calibration
from stmask_ros.lifting.cloud import Cloud
from stmask_ros.lifting.depth import DepthImage
from stmask_ros.lifting.labels import LabelMap
from stmask_ros.lifting.transforms import Transform

Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]

# A depth image of another camera is thinned out to about so many points.
_MOST_PROJECTED = 160_000


@dataclass(frozen=True)
class Samples:
    """
    Where masks and depth meet, ordered by instance.

    points: float32 [M, 3] in the image's optical frame [m], all with depth.
    owners: int64 [M], the index of the instance. core: bool [M], well inside of its mask.
    footprints: float32 [M], half the width of what a point stands for [m]; 0 for clouds.
    looked_at: int64 [N], pixels of each instance that were looked at, with depth or without; -1
    where that says nothing, as for clouds.
    """

    points: Float32Array
    owners: npt.NDArray[np.int64]
    core: BoolArray
    footprints: Float32Array
    looked_at: npt.NDArray[np.int64]


@dataclass(frozen=True)
class RegisteredView:
    """
    A depth image from the image's own optical centre, in any resolution or crop.

    image: calibration of the image; depth: of the depth image. Both may be the same.
    """

    image: Calibration
    depth: Calibration

    @cached_property
    def _map(self) -> npt.NDArray[np.int16] | None:
        """Image column and row of each depth pixel; None if they are the same pixels."""
        if self.image == self.depth:
            return None
        rays = self.depth.rays
        ahead = np.column_stack([rays, np.ones(len(rays), np.float32)])
        pixels, seen = self.image.project(ahead)
        pixels[~seen] = -1
        return np.rint(pixels).astype(np.int16).reshape(*self.depth.size, 2)

    def to_depth(self, picture: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return uint8 or uint16 values of image pixels for each depth pixel, 0 outside."""
        if self._map is None:
            return picture
        nothing = np.zeros(0, np.uint16)
        return np.asarray(cv2.remap(picture, self._map, nothing, cv2.INTER_NEAREST, borderValue=0))

    def sample(self, depth: DepthImage, labels: LabelMap, count: int, most: int) -> Samples:
        """Return the points of `count` instances; at most about `most` for each."""
        owners = self.to_depth(labels.labels).ravel()
        pixels = np.flatnonzero(owners)
        found = owners.take(pixels)
        order = np.argsort(found, kind='stable')
        pixels, found = pixels[order], found[order]
        chosen = _thinned(found, count, most)
        pixels, found = pixels[chosen], found[chosen].astype(np.int64) - 1
        strides = np.sqrt(_strides(owners, count, most))
        looked_at = np.bincount(found, minlength=count)
        z = depth.metres(pixels)
        valid = np.flatnonzero(z > 0)
        pixels, found, z = pixels[valid], found[valid], z[valid]
        points = np.empty((len(z), 3), np.float32)
        np.multiply(self.depth.rays.take(pixels, axis=0), z[:, None], out=points[:, :2])
        points[:, 2] = z
        core = self.to_depth(labels.core.view(np.uint8)).ravel().take(pixels).astype(bool)
        footprints = z * (0.5 / self.depth.fx * strides).astype(np.float32)[found]
        return Samples(points, found, core, footprints, looked_at)

    def covered(self, mask: BoolArray) -> BoolArray:
        """Return the depth pixels whose image pixels are in a mask [image height, width]."""
        return self.to_depth(mask.view(np.uint8)).astype(bool)


@dataclass(frozen=True)
class UnregisteredView:
    """
    A depth image of another camera.

    transform: from the depth camera's optical frame to that of the image.
    """

    image: Calibration
    depth: Calibration
    transform: Transform

    def sample(self, depth: DepthImage, labels: LabelMap, count: int, most: int) -> Samples:
        """Return the points of `count` instances; at most about `most` for each."""
        stride = max(1, int(np.ceil(np.sqrt(depth.pixels.size / _MOST_PROJECTED))))
        points, _ = self._points(depth, stride)
        footprint = 0.5 * stride / self.depth.fx
        return _sample_points(points, self.image, labels, count, most, footprint)

    def covered(self, mask: BoolArray, depth: DepthImage) -> BoolArray:
        """Return the depth pixels whose points are seen in a mask [image height, width]."""
        points, pixels = self._points(depth, 1)
        covered = np.zeros(depth.pixels.size, bool)
        covered[pixels[_inside(points, self.image, mask)]] = True
        return covered.reshape(depth.size)

    def _points(self, depth: DepthImage, stride: int) -> tuple[Float32Array, Indices]:
        """Return the valid points in the image's frame, and their depth pixels."""
        grid = np.arange(depth.pixels.size).reshape(depth.size)[::stride, ::stride].ravel()
        z = depth.metres(grid)
        valid = np.flatnonzero(z > 0)
        pixels, z = grid[valid], z[valid]
        points = np.column_stack([self.depth.rays.take(pixels, axis=0) * z[:, None], z])
        return self.transform.apply(points), pixels


@dataclass(frozen=True)
class CloudView:
    """
    A cloud of a lidar or of a depth camera.

    transform: from the cloud's frame to the image's optical frame.
    """

    image: Calibration
    transform: Transform

    def sample(self, cloud: Cloud, labels: LabelMap, count: int, most: int) -> Samples:
        """Return the points of `count` instances; at most about `most` for each."""
        points = self.transform.apply(cloud.xyz)
        return _sample_points(points, self.image, labels, count, most, 0.0)

    def covered(self, mask: BoolArray, cloud: Cloud) -> BoolArray:
        """Return which points of a cloud are seen in a mask [image height, width]."""
        return _inside(self.transform.apply(cloud.xyz), self.image, mask)


def _sample_points(
    points: Float32Array, image: Calibration, labels: LabelMap, count: int, most: int,
    footprint: float,
) -> Samples:
    """footprint: half the width of what a point stands for, at a distance of one metre [m]."""
    where, pixels = _image_pixels(points, image)
    found = labels.labels.ravel().take(pixels)
    hits = np.flatnonzero(found)
    hits = hits[np.argsort(found[hits], kind='stable')]
    hits = hits[_thinned(found[hits], count, most)]
    chosen = points[where[hits]]
    return Samples(
        chosen, found[hits].astype(np.int64) - 1, labels.core.ravel().take(pixels[hits]),
        chosen[:, 2] * np.float32(footprint), np.full(count, -1, np.int64))


def _image_pixels(points: Float32Array, image: Calibration) -> tuple[Indices, Indices]:
    """Return which points are seen in the image, and at which pixel, row by row."""
    # Most points of a lidar are behind the camera or beside it.
    with np.errstate(invalid='ignore'):
        ahead = np.flatnonzero((points[:, 2] > 0) & np.isfinite(points[:, 0]))
    pixels, seen = image.project(points[ahead])
    columns, rows = np.rint(pixels[seen]).astype(np.intp).T
    return ahead[seen], rows * image.width + columns


def _inside(points: Float32Array, image: Calibration, mask: BoolArray) -> BoolArray:
    where, pixels = _image_pixels(points, image)
    inside = np.zeros(len(points), bool)
    inside[where] = mask.ravel().take(pixels)
    return inside


def _strides(labels: npt.NDArray[Any], count: int, most: int) -> npt.NDArray[np.int64]:
    """Return of how many pixels of each instance one is taken."""
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    return np.asarray(np.maximum(1, -(-sizes // most)), np.int64)


def _thinned(labels: npt.NDArray[Any], count: int, most: int) -> Indices:
    """Return which of some ordered labels to keep: every so many of each that has too many."""
    sizes = np.bincount(labels, minlength=count + 1)[1:]
    strides = np.maximum(1, -(-sizes // most))
    rank = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.flatnonzero(rank % np.repeat(strides, sizes) == 0)
