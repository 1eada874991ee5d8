# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""From what was lifted to messages: tracks, coloured boxes, labelled points, cleaned depth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose
from sensor_msgs.msg import Image, PointCloud2, PointField
from std_msgs.msg import Header

from stmask_ros.lifting.cloud import Cloud
from stmask_ros.lifting.depth import DepthImage
from stmask_ros.lifting.pipeline import LiftedPair
from stmask_ros.msg import TrackedInstance3D, TrackedInstance3DArray
from stmask_ros.ros.image_messages import fill
from stmask_ros.ros.messages import time_message

# The fields of a point of ~/points. 16 + 4 + 2 + 2 (padding) + 4 bytes.
POINT = np.dtype([
    ('x', '<f4'), ('y', '<f4'), ('z', '<f4'), ('score', '<f4'), ('instance_id', '<u4'),
    ('class_id', '<u2'), ('pad', '<u2')])
_DATATYPES = {'<f4': PointField.FLOAT32, '<u4': PointField.UINT32, '<u2': PointField.UINT16}


def output_header(pair: LiftedPair, stamp: Time) -> Header:
    """Return the header of all that tells of a pair in the output frame."""
    return Header(stamp=stamp, frame_id=pair.frame_id)


def lifted_message(pair: LiftedPair, instances: Any, depth_stamp: Time) -> TrackedInstance3DArray:
    """
    Return the instances of a pair in space.

    instances: the TrackedInstanceArray they are from, of rclpy or of rosbags. processing_time is
    left at zero: only the publisher knows it.
    """
    frame = pair.frame
    message = TrackedInstance3DArray(
        header=output_header(pair, time_message(frame.stamp)),
        image_frame_id=str(instances.header.frame_id), depth_stamp=depth_stamp, epoch=frame.epoch,
        sequence=int(instances.sequence))
    message.instances = _instances(pair)
    return message


def _instances(pair: LiftedPair) -> list[TrackedInstance3D]:
    frame, lifted = pair.frame, pair.lifted
    spreads = lifted.covariances
    columns = zip(
        frame.track_ids.tolist(), frame.states.tolist(), frame.class_ids.tolist(),
        frame.class_names, frame.scores.tolist(), lifted.measured.tolist(),
        lifted.last_measured.tolist(), lifted.points_used.tolist(), lifted.valid_shares.tolist(),
        lifted.positions.tolist(), spreads[:, :3, :3].reshape(-1, 9),
        lifted.velocities.tolist(), spreads[:, 3:, 3:].reshape(-1, 9),
        lifted.aligned.centers.tolist(), lifted.aligned.sizes.tolist(),
        turned_poses(pair), lifted.turned.sizes.tolist(), strict=True)
    return [_instance(*values) for values in columns]


def _instance(
    track_id: int, state: int, class_id: int, class_name: str, score: float, measured: bool,
    last_measured: int, points_used: int, valid_share: float, position: list[float],
    position_covariance: npt.NDArray[np.float64], velocity: list[float],
    velocity_covariance: npt.NDArray[np.float64], aligned_center: list[float],
    aligned_size: list[float], pose: Pose, size: list[float],
) -> TrackedInstance3D:
    message = TrackedInstance3D(
        track_id=track_id, state=state, class_id=class_id, class_name=class_name, score=score,
        measured=measured, last_measured=time_message(last_measured), points_used=points_used,
        valid_share=valid_share, position_covariance=position_covariance,
        velocity_covariance=velocity_covariance, box_pose=pose)
    for target, values in (
            (message.position, position), (message.velocity, velocity),
            (message.aligned_center, aligned_center), (message.aligned_size, aligned_size),
            (message.box_size, size)):
        target.x, target.y, target.z = values
    return message


def turned_poses(pair: LiftedPair) -> list[Pose]:
    """Return the poses of the turned boxes: about z, but about y in an optical frame."""
    boxes = pair.lifted.turned
    return [
        _pose(center, yaw, pair.lifted.vertical)
        for center, yaw in zip(boxes.centers.tolist(), boxes.yaws.tolist(), strict=True)]


def _pose(center: list[float], yaw: float, vertical: int) -> Pose:
    pose = Pose()
    pose.position.x, pose.position.y, pose.position.z = center
    sine = math.sin(yaw / 2)
    pose.orientation.w = math.cos(yaw / 2)
    if vertical == 1:
        pose.orientation.y = sine
    else:
        pose.orientation.z = sine
    return pose


def points_message(pair: LiftedPair, header: Header) -> PointCloud2:
    """Return the points of the instances' surfaces, each with its track's id, class and score."""
    surface, frame = pair.lifted.surface, pair.frame
    points = np.zeros(len(surface.points), POINT)
    points['x'], points['y'], points['z'] = surface.points.T
    points['score'] = surface.grouping.spread(frame.scores)
    points['instance_id'] = surface.grouping.spread(frame.track_ids)
    points['class_id'] = surface.grouping.spread(frame.class_ids)
    fields = [
        PointField(name=name, offset=int(POINT.fields[name][1]), count=1,
                   datatype=_DATATYPES[POINT.fields[name][0].str])
        for name in POINT.names or () if POINT.fields is not None and name != 'pad']
    message = PointCloud2(
        header=header, height=1, width=len(points), fields=fields, is_bigendian=False,
        point_step=POINT.itemsize, row_step=POINT.itemsize * len(points), is_dense=True)
    fill(message, points)
    return message


def static_depth_message(
    pair: LiftedPair, chosen: Sequence[int], margin: int, header: Header
) -> Image:
    """Return the depth image without chosen instances (indices), grown by a margin [pixel]."""
    assert isinstance(pair.depth, DepthImage)
    pixels = np.ascontiguousarray(pair.depth.without(pair.covered(chosen, margin)).pixels)
    height, width = pixels.shape
    message = Image(
        header=header, height=height, width=width, step=pixels.strides[0], is_bigendian=0,
        encoding='16UC1' if pixels.dtype == np.uint16 else '32FC1')
    fill(message, pixels)
    return message


def static_points_message(
    pair: LiftedPair, chosen: Sequence[int], margin: int, cloud: Any
) -> PointCloud2:
    """Return a cloud without the points of chosen instances (indices), with all its fields."""
    assert isinstance(pair.depth, Cloud)
    rest = np.ascontiguousarray(pair.depth.records[~pair.covered(chosen, margin)])
    message = PointCloud2(
        header=cloud.header, height=1, width=len(rest), fields=cloud.fields,
        is_bigendian=cloud.is_bigendian, point_step=cloud.point_step,
        row_step=cloud.point_step * len(rest), is_dense=cloud.is_dense)
    fill(message, rest)
    return message
