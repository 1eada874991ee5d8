# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What the lifter subscribes to: instances, depth or points, and the calibrations of both."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import ExitStack
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from stmask_ros.lifter.pairing import Pair, Pairing
from stmask_ros.msg import TrackedInstanceArray
from stmask_ros.ros.messages import stamp_of
from stmask_ros.ros.receiver import Receiver

_KINDS = {'depth': Image, 'compressed_depth': CompressedImage, 'points': PointCloud2}
_KEPT_CALIBRATIONS = 60


class CalibrationHistory:
    """The last camera_infos of a topic."""

    def __init__(self) -> None:
        """Start with none."""
        self._lock = threading.Lock()
        self._kept: deque[tuple[int, CameraInfo]] = deque(maxlen=_KEPT_CALIBRATIONS)

    def add(self, info: CameraInfo) -> None:
        """Keep a camera_info."""
        with self._lock:
            self._kept.append((stamp_of(info.header), info))

    def at(self, stamp: int) -> CameraInfo | None:
        """Return that of a stamp [ns], else the newest: drivers may send it once for all."""
        with self._lock:
            exact = next((info for at, info in self._kept if at == stamp), None)
            return exact or (self._kept[-1][1] if self._kept else None)


class LifterInputs:
    """The subscriptions of an active lifter."""

    def __init__(self, node: Node, pairing: Pairing, kind: str) -> None:
        """
        Receive from now on; raises TopicError, and then nothing is left.

        kind: 'depth', 'compressed_depth' or 'points', as the parameter input has it.
        """
        self._pairing = pairing
        self._depth_infos, self._image_infos = CalibrationHistory(), CalibrationHistory()
        base = node.resolve_topic_name('points' if kind == 'points' else 'depth')
        topic = f'{base}/compressedDepth' if kind == 'compressed_depth' else base
        with ExitStack() as undo:
            def receive(message: type, name: str, callback: Any, profile: QoSProfile) -> str:
                receiver: Receiver[Any] = Receiver(node, message, name, callback, profile)
                undo.callback(receiver.close)
                return receiver.topic_name

            reliable = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
            self.topics = [
                receive(TrackedInstanceArray, 'instances', self._on_instances, reliable),
                receive(_KINDS[kind], topic, self._on_depth, _best_effort(5)),
                receive(CameraInfo, 'camera_info', self._image_infos.add, _best_effort(5))]
            if kind != 'points':
                self.topics.append(receive(
                    CameraInfo, 'depth_camera_info', self._depth_infos.add, _best_effort(5)))
            self.close = undo.pop_all().close

    def calibrations(self, pair: Pair) -> tuple[CameraInfo | None, CameraInfo | None]:
        """Return the camera_info of a pair's depth and of its image, None where none has come."""
        return (
            self._depth_infos.at(stamp_of(pair.depth.header)),
            self._image_infos.at(stamp_of(pair.instances.header)))

    def _on_instances(self, message: TrackedInstanceArray) -> None:
        self._pairing.put_instances(message, stamp_of(message.header), time.monotonic_ns())

    def _on_depth(self, message: Any) -> None:
        self._pairing.put_depth(message, stamp_of(message.header), time.monotonic_ns())


def _best_effort(depth: int) -> QoSProfile:
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT)
