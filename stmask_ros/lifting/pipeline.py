# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""One pair of messages after the other, from masks and depth to tracks in the output frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from stmask_ros.lifting.camera import Calibration, fitted_calibration, read_calibration
from stmask_ros.lifting.cloud import Cloud, read_cloud
from stmask_ros.lifting.compressed_depth import read_compressed_depth
from stmask_ros.lifting.depth import DepthImage, read_depth
from stmask_ros.lifting.errors import LiftingError
from stmask_ros.lifting.instances import InstanceFrame
from stmask_ros.lifting.labels import LabelMap, grown_mask, label_map
from stmask_ros.lifting.lifter import LiftedFrame, Lifter
from stmask_ros.lifting.measurement import Sensor
from stmask_ros.lifting.tracks import Motion
from stmask_ros.lifting.transforms import Transform, Transforms
from stmask_ros.lifting.views import CloudView, RegisteredView, UnregisteredView

DepthView: TypeAlias = RegisteredView | UnregisteredView
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Geometry:
    """
    Which frames and calibrations count.

    fixed_frame: the output frame; empty for the image's optical frame. rectified: images and depth
    are rectified, so that P of their camera_info counts, not K and D. extrinsics: from the frame
    of the depth or cloud to that of the image; None to ask the transforms.
    """

    fixed_frame: str = ''
    rectified: bool = False
    extrinsics: Transform | None = None


@dataclass(frozen=True)
class LiftedPair:
    """
    What became of a pair.

    frame: the instances. labels: of its pixels. lifted: the same in space, in the frame
    `frame_id`. depth: the depth image, or the cloud.
    """

    frame: InstanceFrame
    labels: LabelMap
    lifted: LiftedFrame
    frame_id: str
    to_output: Transform
    depth: DepthImage | Cloud
    view: DepthView | CloudView

    def covered(self, chosen: Sequence[int], margin: int) -> BoolArray:
        """
        Return which pixels or points belong to chosen instances (indices), grown by a margin.

        Returns bool [height, width] for a depth image, [N] for a cloud. margin: [pixel].
        """
        mask = grown_mask(self.frame, chosen, margin)
        if isinstance(self.view, RegisteredView):
            return self.view.covered(mask)
        if isinstance(self.view, CloudView):
            assert isinstance(self.depth, Cloud)
            return self.view.covered(mask, self.depth)
        assert isinstance(self.depth, DepthImage)
        return self.view.covered(mask, self.depth)


class LiftingPipeline:
    """Lifts the pairs of one camera; works on messages of rclpy and of rosbags alike."""

    def __init__(
        self, sensor: Sensor, motion: Motion, geometry: Geometry, transforms: Transforms | None
    ) -> None:
        """Start without tracks; transforms: None where nobody knows any."""
        self.sensor = sensor
        self._geometry = geometry
        self._transforms = transforms
        self._lifter = Lifter(sensor, motion, 2 if geometry.fixed_frame else 1)
        # The tables of the views are made once for each calibration.
        self._registered = lru_cache(maxsize=4)(RegisteredView)
        self._calibrated = lru_cache(maxsize=8)(_same)

    def lift(
        self, instances: Any, depth: Any, depth_info: Any | None, image_info: Any | None
    ) -> LiftedPair:
        """
        Return what a TrackedInstanceArray and its depth say together.

        depth: sensor_msgs/Image, CompressedImage or PointCloud2. depth_info, image_info: the
        camera_info of each, None where it is not known. Raises LiftingError.
        """
        frame = InstanceFrame.from_message(instances)
        image_frame = str(instances.header.frame_id)
        source = str(depth.header.frame_id) or image_frame
        to_output = self._to_output(image_frame, frame.stamp)
        to_image = self._to_image(image_frame, source, frame.stamp)
        labels = label_map(frame, self.sensor.erosion)
        most = self.sensor.most_points
        found: DepthImage | Cloud
        view: DepthView | CloudView
        if hasattr(depth, 'fields'):
            found = read_cloud(depth)
            view = CloudView(self._image_calibration(frame, image_info), to_image)
            samples = view.sample(found, frame, labels, most)
        else:
            found = read_any_depth(depth)
            view = self._depth_view(frame, found, depth_info, image_info, to_image)
            samples = view.sample(found, frame, labels, most)
        lifted = self._lifter.lift(frame, samples, to_output)
        frame_id = self._geometry.fixed_frame or image_frame
        return LiftedPair(frame, labels, lifted, frame_id, to_output, found, view)

    def _to_output(self, image_frame: str, stamp: int) -> Transform:
        fixed = self._geometry.fixed_frame
        return self._lookup(fixed, image_frame, stamp) if fixed else Transform.identity()

    def _to_image(self, image_frame: str, source: str, stamp: int) -> Transform:
        if self._geometry.extrinsics is not None:
            return self._geometry.extrinsics
        if source == image_frame:
            return Transform.identity()
        return self._lookup(image_frame, source, stamp)

    def _lookup(self, target: str, source: str, stamp: int) -> Transform:
        if self._transforms is None:
            raise LiftingError('no transform', (
                f"nobody tells transforms, and '{source}' is to be seen from '{target}': tf2_ros "
                'is not installed, or not asked'))
        return self._transforms.lookup(target, source, stamp)

    def _depth_view(
        self, frame: InstanceFrame, depth: DepthImage, depth_info: Any | None,
        image_info: Any | None, to_image: Transform,
    ) -> DepthView:
        if depth_info is None:
            raise LiftingError('no calibration', 'no camera_info of the depth image has come')
        of_depth = self._calibration(depth_info, *depth.size)
        if not to_image.is_identity:
            return UnregisteredView(self._image_calibration(frame, image_info), of_depth, to_image)
        # A driver without a calibration of its own may have registered depth all the same.
        if image_info is None or not any(image_info.k):
            of_image = fitted_calibration(of_depth, frame.height, frame.width)
        else:
            of_image = self._image_calibration(frame, image_info)
        return self._registered(self._calibrated(of_image), of_depth)

    def _image_calibration(self, frame: InstanceFrame, image_info: Any | None) -> Calibration:
        if image_info is None:
            raise LiftingError('no calibration', (
                'no camera_info of the image has come, and depth is of another place'))
        return self._calibration(image_info, frame.height, frame.width)

    def _calibration(self, info: Any, height: int, width: int) -> Calibration:
        found = read_calibration(info, self._geometry.rectified)
        return self._calibrated(fitted_calibration(found, height, width))


def read_any_depth(message: Any) -> DepthImage:
    """Return the depth of a sensor_msgs/Image or CompressedImage; LiftingError if it has none."""
    return read_compressed_depth(message) if hasattr(message, 'format') else read_depth(message)


def _same(calibration: Calibration) -> Calibration:
    """Return it as it is: behind a cache, equal calibrations are one, with one table of rays."""
    return calibration
