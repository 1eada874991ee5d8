# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A lifter in a process of its own, and the client that the tests drive it with."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from geometry_msgs.msg import PoseStamped
from node_process import RELIABLE, NodeProcess
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import Header
from typing_extensions import Self

from stmask_ros.lifting.camera import Calibration
from stmask_ros.lifting.transforms import Transform
from stmask_ros.masks import MaskEncoding, RegionMask
from stmask_ros.msg import InstanceMask, TrackedInstance, TrackedInstance3DArray
from stmask_ros.msg import TrackedInstanceArray as InstanceArray
from stmask_ros.ros.messages import time_message
from stmask_ros.sources.rgbd_scene import Rendered

COMMAND = (sys.executable, '-m', 'stmask_ros.lifter.lifter_node')
START = 1_000_000_000_000
FRAME_NS = 100_000_000


class LifterProcess(NodeProcess):
    """A running lifter, and everything it publishes."""

    def __init__(self, name: str, *arguments: str, transport: type = Image) -> None:
        """Start the node under a name; transport: the message that carries depth."""
        topics = [item for topic in (
            'instances', 'depth', 'points', 'camera_info', 'depth_camera_info', 'pose')
            for item in ('-r', f'{topic}:=/{name}_in/{topic}')]
        super().__init__(name, COMMAND, '-p', 'autostart:=true', *topics, *arguments)
        self.outputs: list[TrackedInstance3DArray] = []
        depth_topic = {Image: 'depth', CompressedImage: 'depth/compressedDepth',
                       PointCloud2: 'points'}[transport]
        self.instances = self._publisher(InstanceArray, 'instances')
        self.depth = self._publisher(transport, depth_topic)
        self.image_info = self._publisher(CameraInfo, 'camera_info')
        self.depth_info = self._publisher(CameraInfo, 'depth_camera_info')
        self.pose = self._publisher(PoseStamped, 'pose')
        self.listen(TrackedInstance3DArray, 'instances_3d', self.outputs)

    def _publisher(self, kind: type, topic: str) -> Any:
        return self.client.create_publisher(kind, f'/{self.name}_in/{topic}', RELIABLE)

    def listen(self, kind: type, topic: str, into: list[Any]) -> Any:
        """Collect the messages of one of the node's topics."""
        return self.client.create_subscription(
            kind, f'/{self.name}/{topic}', into.append, RELIABLE)

    def connected(self) -> Self:
        """Wait until the node is active and hears depth with all that belongs to it."""
        self.wait_for_connection(self.instances, self.depth, self.depth_info, self.image_info)
        return self

    def wait_for_connection(self, *publishers: Any) -> None:
        """Wait until the node is active and hears these publishers, and is heard."""
        self.spin_until(
            lambda: all(item.get_subscription_count() for item in publishers)
            and self.client.count_publishers(f'/{self.name}/instances_3d') > 0
            and self.last_facts().get('state') == 'active', 'the connection')

    def count(self, fact: str) -> int:
        """Return a count of the last diagnostic report, 0 if it does not have it."""
        return int(self.last_facts().get(fact, '0'))

    def answer(self, send: Callable[[int], None]) -> TrackedInstance3DArray:
        """Send with rising numbers until an answer comes, and return it."""
        before = len(self.outputs)
        return self._repeated(
            send, lambda: self.outputs[-1] if len(self.outputs) > before else None)

    def answer_to(self, number: int, send: Callable[[int], None]) -> TrackedInstance3DArray:
        """Send image `number`, again if something of it was lost, and return its answer."""
        return self._repeated(
            lambda _: send(number),
            lambda: next((item for item in self.outputs if item.sequence == number), None))

    def _repeated(
        self, send: Callable[[int], None], found: Callable[[], TrackedInstance3DArray | None]
    ) -> TrackedInstance3DArray:
        for attempt in range(1, 40):
            send(attempt)
            end = time.monotonic() + 3.0
            self.spin_until(
                lambda end=end: found() is not None or time.monotonic() > end, 'an answer')
            if (output := found()) is not None:
                return output
        raise AssertionError(f'no answer\n{self.last_facts()}\n{self.log()}')


def stamp_of(number: float) -> int:
    """Return the stamp of image `number`, or of a moment between two [ns]."""
    return START + round(number * FRAME_NS)


def header(stamp: int, frame_id: str = 'camera') -> Header:
    """Return a header; stamp: [ns]."""
    return Header(stamp=time_message(stamp), frame_id=frame_id)


def instances_message(seen: Rendered, stamp: int, sequence: int, epoch: int = 1) -> InstanceArray:
    """Return the true instances of what was rendered."""
    height, width = seen.ids.shape
    message = InstanceArray(
        header=header(stamp), image_height=height, image_width=width, epoch=epoch,
        sequence=sequence)
    for index in np.unique(seen.ids[seen.ids > 0]).tolist():
        mask = RegionMask.from_full(seen.ids == index)
        data = InstanceMask(
            encoding=1, x_offset=mask.x_offset, y_offset=mask.y_offset, width=mask.width,
            height=mask.height, area=mask.area)
        data.data.frombytes(mask.encode(MaskEncoding.COCO_RLE))
        message.instances.append(TrackedInstance(
            track_id=index, state=TrackedInstance.CONFIRMED, class_id=index,
            class_name=f'class {index}', score=0.9, mask=data))
    return message


def depth_message(depth: np.ndarray, stamp: int, frame_id: str = 'camera') -> Image:
    """Return a 16UC1 message of depth [m]."""
    millimetres = np.round(depth * 1000).astype(np.uint16)
    message = Image(
        header=header(stamp, frame_id), height=depth.shape[0], width=depth.shape[1],
        encoding='16UC1', step=depth.shape[1] * 2)
    message.data.frombytes(millimetres.tobytes())
    return message


def compressed_message(depth: np.ndarray, stamp: int) -> CompressedImage:
    """Return a compressedDepth message of depth [m]."""
    png = cv2.imencode('.png', np.round(depth * 1000).astype(np.uint16))[1].tobytes()
    message = CompressedImage(header=header(stamp), format='16UC1; compressedDepth png')
    message.data.frombytes(bytes(12) + png)
    return message


def info_message(camera: Calibration, stamp: int, frame_id: str = 'camera') -> CameraInfo:
    """Return the camera_info of a camera without distortion."""
    k = [camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0]
    return CameraInfo(
        header=header(stamp, frame_id), width=camera.width, height=camera.height, k=k,
        p=[*k[:3], 0.0, *k[3:6], 0.0, *k[6:], 0.0], distortion_model='plumb_bob', d=[0.0] * 5)


def pose_message(pose: Transform, stamp: int, frame_id: str = 'odom') -> PoseStamped:
    """Return a pose of the camera."""
    message = PoseStamped(header=header(stamp, frame_id))
    position, turn = message.pose.position, message.pose.orientation
    position.x, position.y, position.z = pose.translation.tolist()
    turn.x, turn.y, turn.z, turn.w = quaternion(pose.rotation)
    return message


def quaternion(rotation: np.ndarray) -> tuple[float, float, float, float]:
    """Return x, y, z, w of a rotation."""
    from scipy.spatial.transform import Rotation

    x, y, z, w = Rotation.from_matrix(rotation).as_quat().tolist()
    return x, y, z, w
