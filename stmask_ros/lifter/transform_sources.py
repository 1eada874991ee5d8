# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Where the node's transforms come from: tf2, or a topic with the camera's pose."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from geometry_msgs.msg import PoseStamped
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.time import Time

from stmask_ros.lifting.errors import LiftingError
from stmask_ros.lifting.transform_buffer import TransformBuffer
from stmask_ros.lifting.transforms import Transform, Transforms
from stmask_ros.ros.messages import stamp_of
from stmask_ros.ros.receiver import Receiver

try:
    import tf2_ros
except ImportError:
    tf2_ros = None

MISSING = (
    'tf2_ros is not installed: install it (ros-<distribution>-tf2-ros-py), or give the pose of '
    'the camera on the topic pose with transforms:=pose'
)
_POLL = 0.005
# In the buffer of poses, the image's optical frame bears this name, whatever it is called.
_CAMERA = 'the optical frame'


def has_tf2() -> bool:
    """Say whether tf2_ros is installed."""
    return tf2_ros is not None


def tf2_buffer(node: Node) -> Any:
    """Return a buffer that lasts as long as the node: it keeps a service there; needs tf2_ros."""
    return tf2_ros.Buffer(cache_time=Duration(seconds=30), node=node)


class Tf2Transforms:
    """tf2's buffer, asked at stamps alone (Transforms)."""

    def __init__(self, node: Node, buffer: Any) -> None:
        """Fill the buffer from /tf and /tf_static; needs tf2_ros."""
        self._buffer = buffer
        self._listener = tf2_ros.TransformListener(buffer, node, spin_thread=False)

    def lookup(self, target: str, source: str, stamp: int) -> Transform:
        """Return the transform from `source` to `target` at a stamp [ns], see Transforms."""
        # Time zero is tf2's word for the latest transform, which is never what is meant here.
        if stamp <= 0:
            raise LiftingError('no transform', (
                f'an image of {stamp} ns has no transform: expected a stamp after zero'))
        try:
            found = self._buffer.lookup_transform(target, source, Time(nanoseconds=stamp))
        except tf2_ros.TransformException as error:
            raise LiftingError('no transform', f'tf2: {error}') from error
        turn, shift = found.transform.rotation, found.transform.translation
        return Transform.from_numbers(
            (shift.x, shift.y, shift.z), (turn.x, turn.y, turn.z, turn.w))

    def close(self) -> None:
        """Listen no more."""
        self._listener.unregister()


class PoseTransforms:
    """The pose of the image's optical frame in a fixed frame, from a topic (Transforms)."""

    def __init__(self, node: Node, fixed_frame: str) -> None:
        """Subscribe to poses; raises TopicError. fixed_frame: what they are given in."""
        self.broken = 0
        self._fixed_frame = fixed_frame
        self._lock = threading.Lock()
        self._buffer = TransformBuffer()
        self._receiver: Receiver[PoseStamped] = Receiver(
            node, PoseStamped, 'pose', self._on_pose, QoSProfile(depth=50))

    def lookup(self, target: str, source: str, stamp: int) -> Transform:
        """Return the transform from `source` to `target` at a stamp [ns], see Transforms."""
        if target != self._fixed_frame:
            raise LiftingError('no transform', (
                f"the topic pose tells nothing of '{source}' seen from '{target}': give it with "
                'the parameter extrinsics'))
        with self._lock:
            return self._buffer.lookup(target, _CAMERA, stamp)

    def close(self) -> None:
        """Listen no more."""
        self._receiver.close()

    def _on_pose(self, message: PoseStamped) -> None:
        shift, turn = message.pose.position, message.pose.orientation
        try:
            if message.header.frame_id != self._fixed_frame:
                raise LiftingError('transform', 'another frame')
            transform = Transform.from_numbers(
                (shift.x, shift.y, shift.z), (turn.x, turn.y, turn.z, turn.w))
        except LiftingError:
            self.broken += 1
            return
        with self._lock:
            self._buffer.insert(self._fixed_frame, _CAMERA, stamp_of(message.header), transform)


class PatientTransforms:
    """Asks other transforms again for a while: they may be on their way (Transforms)."""

    def __init__(self, others: Transforms, patience: Callable[[], float]) -> None:
        """Ask `others`; patience: returns for how long [s]."""
        self._others = others
        self._patience = patience

    def lookup(self, target: str, source: str, stamp: int) -> Transform:
        """Return the transform from `source` to `target` at a stamp [ns], see Transforms."""
        deadline = time.monotonic() + self._patience()
        while True:
            try:
                return self._others.lookup(target, source, stamp)
            except LiftingError:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(_POLL)
