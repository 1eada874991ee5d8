# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The node's publishers: tracks always, other views of them only while someone listens."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, PointCloud2

from stmask_ros.lifter.pairing import Pair
from stmask_ros.lifter.parameters import LifterParameters
from stmask_ros.lifting.pipeline import LiftedPair
from stmask_ros.msg import TrackedInstance3DArray
from stmask_ros.ros.detections_3d_message import Detection3DArray, detections_3d_message
from stmask_ros.ros.frame_messages import TFMessage, frames_message
from stmask_ros.ros.lifted_messages import (
    lifted_message,
    output_header,
    points_message,
    static_depth_message,
    static_points_message,
)
from stmask_ros.ros.marker_messages import MarkerArray, MarkerWriter
from stmask_ros.ros.messages import duration_message
from stmask_ros.ros.qos import make_publisher


class LifterOutputs:
    """The topics on which lifted pairs are published."""

    def __init__(self, node: Node, parameters: Callable[[], LifterParameters]) -> None:
        """
        Advertise them; raises TopicError, and then none is left.

        parameters: returns the values in force.
        """
        self._parameters = parameters
        self._markers = MarkerWriter()
        self._frame_prefix = node.get_fully_qualified_name().lstrip('/')
        with ExitStack() as undo:
            def advertise(kind: type, topic: str, depth: int) -> Publisher[Any]:
                profile = QoSProfile(depth=depth, reliability=ReliabilityPolicy.RELIABLE)
                made = make_publisher(node, kind, topic, profile)
                undo.callback(node.destroy_publisher, made)
                return made

            self._tracks = advertise(TrackedInstance3DArray, '~/instances_3d', 5)
            self._frames = advertise(TFMessage, '/tf', 100) if parameters().publish_tf else None
            self._views: list[tuple[Publisher[Any], Callable[[Pair, LiftedPair], Any]]] = [
                (advertise(PointCloud2, '~/points', 1), self._points)]
            if MarkerArray is not None:
                self._views.append((advertise(MarkerArray, '~/markers', 5), self._marker_array))
            if Detection3DArray is not None:
                self._views.append(
                    (advertise(Detection3DArray, '~/detections_3d', 5), _detections))
            if parameters().input == 'points':
                self._views.append((advertise(PointCloud2, '~/points_static', 1), self._cloud))
            else:
                self._views.append((advertise(Image, '~/depth_static', 1), self._depth))
            self._withdraw = undo.pop_all().close

    def publish(self, pair: Pair, lifted: LiftedPair) -> int:
        """Publish the tracks of a pair; return the time since its receipt [ns]."""
        message = lifted_message(lifted, pair.instances, pair.depth.header.stamp)
        elapsed = time.monotonic_ns() - pair.received_ns
        message.processing_time = duration_message(elapsed)
        self._tracks.publish(message)
        if self._frames is not None:
            self._frames.publish(frames_message(message, self._frame_prefix))
        return elapsed

    def publish_views(self, pair: Pair, lifted: LiftedPair) -> None:
        """Make and publish those views that someone listens to."""
        for publisher, make in self._views:
            if publisher.get_subscription_count() > 0:
                publisher.publish(make(pair, lifted))

    def destroy(self) -> None:
        """Take the topics back."""
        self._withdraw()

    def _points(self, pair: Pair, lifted: LiftedPair) -> PointCloud2:
        return points_message(lifted, output_header(lifted, pair.instances.header.stamp))

    def _marker_array(self, pair: Pair, lifted: LiftedPair) -> Any:
        return self._markers.write(lifted, output_header(lifted, pair.instances.header.stamp))

    def _depth(self, pair: Pair, lifted: LiftedPair) -> Image:
        return static_depth_message(
            lifted, self._removed(lifted), self._parameters().remove_margin, pair.depth.header)

    def _cloud(self, pair: Pair, lifted: LiftedPair) -> PointCloud2:
        return static_points_message(
            lifted, self._removed(lifted), self._parameters().remove_margin, pair.depth)

    def _removed(self, lifted: LiftedPair) -> Sequence[int]:
        return removed_rows(lifted, self._parameters().remove_classes)


def removed_rows(lifted: LiftedPair, classes: Sequence[str]) -> Sequence[int]:
    """Return the indices of the instances of some classes, given by name or number."""
    frame = lifted.frame
    numbers = [str(number) for number in frame.class_ids.tolist()]
    return np.flatnonzero(
        np.isin(numbers, classes) | np.isin(list(frame.class_names), classes)).tolist()


def _detections(pair: Pair, lifted: LiftedPair) -> Any:
    return detections_3d_message(lifted, output_header(lifted, pair.instances.header.stamp))
