# SPDX-License-Identifier: Apache-2.0
"""A lifter in a process of its own, and the client that the tests drive it with."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import Header

from stmask_ros.lifting.camera import Calibration
from stmask_ros.lifting.transforms import Transform
from stmask_ros.masks import MaskEncoding, RegionMask
from stmask_ros.msg import InstanceMask, TrackedInstance, TrackedInstance3DArray
from stmask_ros.msg import TrackedInstanceArray as InstanceArray
from stmask_ros.ros.messages import time_message
from stmask_ros.sources.rgbd_scene import Rendered

DEADLINE = 60.0
RELIABLE = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
START = 1_000_000_000_000


class LifterProcess:
    """A running node, its log, and everything it publishes."""

    def __init__(self, name: str, *arguments: str, transport: type = Image) -> None:
        """Start the node under a name; transport: the message that carries depth."""
        self.name = name
        self._folder = tempfile.TemporaryDirectory(prefix=f'{name}-')
        self._log = Path(self._folder.name) / 'log'
        topics = [item for topic in (
            'instances', 'depth', 'points', 'camera_info', 'depth_camera_info', 'pose')
            for item in ('-r', f'{topic}:=/{name}_in/{topic}')]
        self.process = subprocess.Popen(
            [sys.executable, '-m', 'stmask_ros.lifter.lifter_node', '--ros-args',
             '-r', f'__node:={name}', '-p', 'autostart:=true', '-p', 'diagnostics_period:=0.1',
             *topics, *arguments],
            stdout=self._log.open('w'), stderr=subprocess.STDOUT)
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.client = Node(f'{name}_client', context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.client)
        self.outputs: list[TrackedInstance3DArray] = []
        self.status: DiagnosticStatus | None = None
        depth_topic = {Image: 'depth', CompressedImage: 'depth/compressedDepth',
                       PointCloud2: 'points'}[transport]
        self.instances = self._publisher(InstanceArray, 'instances')
        self.depth = self._publisher(transport, depth_topic)
        self.image_info = self._publisher(CameraInfo, 'camera_info')
        self.depth_info = self._publisher(CameraInfo, 'depth_camera_info')
        self.pose = self._publisher(PoseStamped, 'pose')
        self.listen(TrackedInstance3DArray, 'instances_3d', self.outputs)
        self.client.create_subscription(
            DiagnosticArray, '/diagnostics', self._on_diagnostics, RELIABLE)

    def _publisher(self, kind: type, topic: str) -> Any:
        return self.client.create_publisher(kind, f'/{self.name}_in/{topic}', RELIABLE)

    def listen(self, kind: type, topic: str, into: list[Any]) -> Any:
        """Collect the messages of one of the node's topics."""
        return self.client.create_subscription(
            kind, f'/{self.name}/{topic}', into.append, RELIABLE)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.startswith(f'/{self.name}:'):
                self.status = status

    def __enter__(self) -> LifterProcess:
        return self

    def __exit__(self, *_exception: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.client.destroy_node()
        rclpy.try_shutdown(context=self.context)
        self._folder.cleanup()

    def log(self) -> str:
        """Return all that the process has written."""
        return self._log.read_text()

    def facts(self) -> dict[str, str]:
        """Return the facts of the last report."""
        return {} if self.status is None else {item.key: item.value for item in self.status.values}

    def spin_until(
        self, condition: Callable[[], bool], what: str, deadline: float = DEADLINE
    ) -> None:
        """Handle messages until a condition holds, or fail with the node's log."""
        end = time.monotonic() + deadline
        while not condition():
            if time.monotonic() > end or self.process.poll() is not None:
                raise AssertionError(f'in vain: {what}\n{self.facts()}\n{self.log()}')
            self.executor.spin_once(timeout_sec=0.05)

    def wait_for_connection(self, *publishers: Any) -> None:
        """Wait until the node is active and hears these publishers, and is heard."""
        self.spin_until(
            lambda: all(item.get_subscription_count() for item in publishers)
            and self.client.count_publishers(f'/{self.name}/instances_3d') > 0
            and self.facts().get('state') == 'active', 'the connection')

    def answer(self, send: Callable[[int], None], what: str = 'an answer') -> Any:
        """Send with rising numbers until an answer comes, and return it."""
        before = len(self.outputs)
        for number in range(1, 60):
            send(number)
            end = time.monotonic() + 1.0
            self.spin_until(
                lambda end=end: len(self.outputs) > before or time.monotonic() > end, what)
            if len(self.outputs) > before:
                return self.outputs[-1]
        raise AssertionError(f'{what}\n{self.facts()}\n{self.log()}')


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
