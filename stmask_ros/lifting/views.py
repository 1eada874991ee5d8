# Copyright 2026 stmask_ros developers
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
from stmask_ros.lifting.grouping import Grouping
from stmask_ros.lifting.instances import InstanceFrame
from stmask_ros.lifting.labels import LabelMap, inside_pixels
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

    points: float32 [3, M] in the image's optical frame [m], all with depth.
    grouping: which instance they are of. core: bool [M], well inside of its mask.
    footprints: float64 [N], half the width of what a point of an instance stands for, at a
    distance of one metre [m]; 0 for clouds.
    looked_at: int64 [N], pixels of each instance that were looked at, with depth or without; -1
    where that says nothing, as for clouds.
    """

    points: Float32Array
    grouping: Grouping
    core: BoolArray
    footprints: npt.NDArray[np.float64]
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
    def _image_pixels(self) -> npt.NDArray[np.int16]:
        """Image column and row of each depth pixel, [height, width, 2]; -1 outside."""
        return _seen_pixels(self.depth, self.image)

    @cached_property
    def _depth_pixels(self) -> npt.NDArray[np.int64]:
        """Depth pixel of each image pixel, row by row; -1 outside."""
        columns, rows = _seen_pixels(self.image, self.depth).reshape(-1, 2).T.astype(np.int64)
        return np.where(columns < 0, -1, rows * self.depth.width + columns)

    def sample(
        self, depth: DepthImage, frame: InstanceFrame, labels: LabelMap, most: int
    ) -> Samples:
        """Return the points of a frame's instances; at most about `most` for each."""
        inside = inside_pixels(frame, labels, most)
        pixels, grouping, in_depth = inside.pixels, inside.grouping, inside.pixels
        if self.image != self.depth:
            in_depth = self._depth_pixels.take(pixels)
            covered = (in_depth >= 0).nonzero()[0]
            pixels, grouping, in_depth = (
                pixels[covered], grouping.chosen(covered), in_depth[covered])
        points = np.empty((3, len(pixels)), np.float32)
        points[2] = depth.metres(in_depth)
        np.multiply(self.depth.rays.take(in_depth, axis=0).T, points[2], out=points[:2])
        valid = ((points[2] > 0) & np.isfinite(points[0])).nonzero()[0]
        return Samples(
            points.take(valid, axis=1), grouping.chosen(valid),
            labels.core.ravel().take(pixels.take(valid)),
            0.5 / self.image.fx * np.sqrt(inside.strides), grouping.sizes)

    def covered(self, mask: BoolArray) -> BoolArray:
        """Return the depth pixels whose image pixels are in a mask [image height, width]."""
        if self.image == self.depth:
            return mask
        return np.asarray(cv2.remap(
            mask.view(np.uint8), self._image_pixels, np.zeros(0, np.uint16), cv2.INTER_NEAREST,
            borderValue=0), bool)


def _seen_pixels(one: Calibration, other: Calibration) -> npt.NDArray[np.int16]:
    """Return which pixel of another camera at the same place sees what each pixel of one does."""
    ahead = np.column_stack([one.rays, np.ones(len(one.rays), np.float32)])
    pixels, seen = other.project(ahead)
    pixels[~seen] = -1
    return np.rint(pixels).astype(np.int16).reshape(*one.size, 2)


@dataclass(frozen=True)
class UnregisteredView:
    """
    A depth image of another camera.

    transform: from the depth camera's optical frame to that of the image.
    """

    image: Calibration
    depth: Calibration
    transform: Transform

    def sample(
        self, depth: DepthImage, frame: InstanceFrame, labels: LabelMap, most: int
    ) -> Samples:
        """Return the points of a frame's instances; at most about `most` for each."""
        stride = max(1, int(np.ceil(np.sqrt(depth.pixels.size / _MOST_PROJECTED))))
        points, _ = self._points(depth, stride)
        footprint = 0.5 * stride / self.depth.fx
        return _sample_points(points, self.image, labels, len(frame), most, footprint)

    def covered(self, mask: BoolArray, depth: DepthImage) -> BoolArray:
        """Return the depth pixels whose points are seen in a mask [image height, width]."""
        points, pixels = self._points(depth, 1)
        covered = np.zeros(depth.pixels.size, bool)
        covered[pixels[_inside(points, self.image, mask)]] = True
        return covered.reshape(depth.size)

    def _points(self, depth: DepthImage, stride: int) -> tuple[Float32Array, Indices]:
        """Return the valid points [3, P] in the image's frame, and their depth pixels."""
        grid = np.arange(depth.pixels.size).reshape(depth.size)[::stride, ::stride].ravel()
        z = depth.metres(grid)
        valid = (z > 0).nonzero()[0]
        pixels, z = grid[valid], z[valid]
        points = np.stack([*self.depth.rays.take(pixels, axis=0).T * z, z])
        return self.transform.apply(points.T).T, pixels


@dataclass(frozen=True)
class CloudView:
    """
    A cloud of a lidar or of a depth camera.

    transform: from the cloud's frame to the image's optical frame.
    """

    image: Calibration
    transform: Transform

    def sample(self, cloud: Cloud, frame: InstanceFrame, labels: LabelMap, most: int) -> Samples:
        """Return the points of a frame's instances; at most about `most` for each."""
        points = self.transform.apply(cloud.xyz).T
        return _sample_points(points, self.image, labels, len(frame), most, 0.0)

    def covered(self, mask: BoolArray, cloud: Cloud) -> BoolArray:
        """Return which points of a cloud are seen in a mask [image height, width]."""
        return _inside(self.transform.apply(cloud.xyz).T, self.image, mask)


def _sample_points(
    points: Float32Array, image: Calibration, labels: LabelMap, count: int, most: int,
    footprint: float,
) -> Samples:
    """
    Return those of points [3, P] that are seen in a mask.

    footprint: half the width of what a point stands for, at a distance of one metre [m].
    """
    where, pixels = _image_pixels(points, image)
    found = labels.labels.ravel().take(pixels)
    hits = (found > 0).nonzero()[0]
    hits = hits[found[hits].argsort(kind='stable')]
    hits = hits[_thinned(found[hits], count, most)]
    return Samples(
        points.take(where[hits], axis=1), Grouping.of(found[hits] - 1, count),
        labels.core.ravel().take(pixels[hits]), np.full(count, footprint),
        np.full(count, -1, np.int64))


def _image_pixels(points: Float32Array, image: Calibration) -> tuple[Indices, Indices]:
    """Return which of points [3, P] are seen in the image, and at which pixel, row by row."""
    # Most points of a lidar are behind the camera or beside it.
    ahead = (points[2] > 0).nonzero()[0]
    pixels, in_view = image.project(points.take(ahead, axis=1).T)
    seen = in_view.nonzero()[0]
    columns, rows = np.rint(pixels.T.take(seen, axis=1)).astype(np.int64)
    return ahead[seen], rows * image.width + columns


def _inside(points: Float32Array, image: Calibration, mask: BoolArray) -> BoolArray:
    where, pixels = _image_pixels(points, image)
    inside = np.zeros(points.shape[1], bool)
    inside[where] = mask.ravel().take(pixels)
    return inside


def _thinned(labels: npt.NDArray[Any], count: int, most: int) -> Indices:
    """Return which of some ordered labels to keep: every so many of each that has too many."""
    grouping = Grouping.of(labels - 1, count)
    strides = np.maximum(1, -(-grouping.sizes // most))
    rank = np.arange(len(labels)) - grouping.spread(grouping.starts)
    return np.flatnonzero(rank % grouping.spread(strides) == 0)
