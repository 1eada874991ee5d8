# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The demo with depth: a synthetic room through camera, segmenter and lifter, seen from above."""

from __future__ import annotations

import os
from argparse import Namespace
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import rclpy
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from stmask_ros.bags.files import BagError, BagWriter, read_bag
from stmask_ros.bags.recording import pictures, write_picture, write_video
from stmask_ros.commands.demo_processes import (
    DemoError,
    HealthListener,
    check_running,
    running_process,
    spin_until,
)
from stmask_ros.commands.look_options import look_parameters
from stmask_ros.lifting.transforms import Transform
from stmask_ros.msg import TrackedInstance3DArray, TrackedInstanceArray
from stmask_ros.output_files import OutputError, output_folder
from stmask_ros.ros.image_messages import compressed_from_bgr, fill
from stmask_ros.ros.messages import stamp_of, time_message
from stmask_ros.ros.recorder import Recorder, Topic
from stmask_ros.ros.transport import use_large_message_profile
from stmask_ros.sources.rgbd_scene import Faults, Rendered, Scene, render, with_faults
from stmask_ros.sources.rgbd_scene_demo import photograph_scene
from stmask_ros.views.top_view import TopTrack, TopView

_IMAGES, _DEPTH, _POSE = '/camera/image_raw', '/camera/depth/image_raw', '/camera/pose'
_CAMERA_INFO, _DEPTH_INFO = '/camera/camera_info', '/camera/depth/camera_info'
_INSTANCES, _OVERLAY = '/segmenter/instances', '/segmenter/overlay'
_TRACKS = '/lifter/instances_3d'
_FRAME, _FIXED = 'camera_optical', 'odom'
_RATE, _SECONDS = 5.0, 7.0
# Slower than it was recorded, so that the segmenter has time for every image on a CPU.
_PLAYED_RATE = 2.0
_START_NS = 1_000_000_000_000
_START_SECONDS, _IDLE_SECONDS = 120.0, 60.0
_MAP = TopView((-1.5, 6.5, -3.2, 3.2), 60.0)


def run_depth_demo(arguments: Namespace) -> int:
    """
    Run the demo with depth; return 0 if things were found where they are, else 1.

    arguments: out, overwrite, model, device, birth_threshold and those of look_options, as
    stmask_ros.cli defines them.
    """
    console = Console()
    out = Path(arguments.out)
    use_large_message_profile()
    os.environ.setdefault('ROS_DOMAIN_ID', str(1 + os.getpid() % 100))
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    try:
        with output_folder(out, 'demo', arguments.overwrite) as stage:
            scene = photograph_scene()
            clip = _Clip(scene, [
                render(scene, number / _RATE) for number in range(round(_RATE * _SECONDS))])
            _write_scene(clip, stage / 'scene')
            facts = _run_nodes(arguments, clip, stage, console)
            seen = _read_tracks(stage / 'bag')
            _draw(clip, seen, stage)
    except (BagError, DemoError, OutputError, OSError) as error:
        console.print(f'[red]{escape(str(error))}')
        return 1
    errors = _errors(clip, seen)
    console.print(_summary(facts, seen, errors))
    console.print(
        f'From above {out}/top_view.png, video {out}/tracks.mp4, bag {out}/bag')
    return 0 if len(errors) and np.median(errors) < 0.05 else 1


@dataclass(frozen=True)
class _Clip:
    """A scene and its frames; frame i has the stamp stamp(i)."""

    scene: Scene
    frames: Sequence[Rendered]

    def stamp(self, number: int) -> int:
        """Return the stamp of a frame [ns]."""
        return _START_NS + round(number / _RATE * 1e9)

    def at(self, stamp: int) -> Rendered:
        """Return the frame of a stamp [ns]."""
        return self.frames[round((stamp - _START_NS) * 1e-9 * _RATE)]


def _write_scene(clip: _Clip, folder: Path) -> None:
    """Write the pictures into a bag that the camera node plays."""
    with BagWriter(folder) as writer:
        for number, frame in enumerate(clip.frames):
            stamp = clip.stamp(number)
            message = compressed_from_bgr(frame.picture, _header(stamp, _FRAME), 95)
            writer.write(
                f'{_IMAGES}/compressed', 'sensor_msgs/msg/CompressedImage', stamp,
                serialize_message(message))


def _header(stamp: int, frame_id: str) -> Header:
    return Header(stamp=time_message(stamp), frame_id=frame_id)


class _DepthCamera:
    """Publishes depth, calibrations and pose of each image that the camera node publishes."""

    def __init__(self, node: Node, clip: _Clip) -> None:
        self._clip = clip
        self._random = np.random.default_rng(0)
        reliable = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
        self._depth = node.create_publisher(Image, _DEPTH, reliable)
        self._info = node.create_publisher(CameraInfo, _DEPTH_INFO, reliable)
        self._pose = node.create_publisher(PoseStamped, _POSE, reliable)
        self._subscription = node.create_subscription(
            CompressedImage, f'{_IMAGES}/compressed', self._on_image, reliable)

    def _on_image(self, image: CompressedImage) -> None:
        stamp = stamp_of(image.header)
        frame = self._clip.at(stamp)
        self._info.publish(_camera_info(self._clip.scene, stamp))
        self._pose.publish(_pose_message(frame.to_world, stamp))
        depth = with_faults(frame.depth, Faults(shift=0), self._random)
        self._depth.publish(_depth_message(depth, stamp))


def _camera_info(scene: Scene, stamp: int) -> CameraInfo:
    camera = scene.camera
    k = [camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0]
    return CameraInfo(
        header=_header(stamp, _FRAME), width=camera.width, height=camera.height, k=k,
        p=[*k[:3], 0.0, *k[3:6], 0.0, *k[6:], 0.0], distortion_model='plumb_bob', d=[0.0] * 5)


def _pose_message(pose: Transform, stamp: int) -> PoseStamped:
    message = PoseStamped(header=_header(stamp, _FIXED))
    position, turn = message.pose.position, message.pose.orientation
    position.x, position.y, position.z = pose.translation.tolist()
    turn.x, turn.y, turn.z, turn.w = Rotation.from_matrix(pose.rotation).as_quat().tolist()
    return message


def _depth_message(depth: npt.NDArray[np.float32], stamp: int) -> Image:
    millimetres = np.clip(np.rint(depth * 1000), 0, 65535).astype(np.uint16)
    height, width = depth.shape
    message = Image(
        header=_header(stamp, _FRAME), height=height, width=width, encoding='16UC1',
        step=2 * width)
    fill(message, millimetres)
    return message


_RECORDED = [
    Topic(f'{_IMAGES}/compressed', CompressedImage, 'sensor_msgs/msg/CompressedImage'),
    Topic(_DEPTH, Image, 'sensor_msgs/msg/Image'),
    Topic(_DEPTH_INFO, CameraInfo, 'sensor_msgs/msg/CameraInfo'),
    Topic(_POSE, PoseStamped, 'geometry_msgs/msg/PoseStamped'),
    Topic(_INSTANCES, TrackedInstanceArray, 'stmask_ros/msg/TrackedInstanceArray'),
    Topic(_TRACKS, TrackedInstance3DArray, 'stmask_ros/msg/TrackedInstance3DArray'),
    Topic(_OVERLAY, Image, 'sensor_msgs/msg/Image'),
]


def _run_nodes(
    arguments: Namespace, clip: _Clip, out: Path, console: Console
) -> dict[str, str]:
    """Run the nodes until the scene ends; return the lifter's last report."""
    rclpy.init(args=[])
    node = rclpy.create_node('demo')
    segmenting, lifting = HealthListener(node), HealthListener(node, 'lifter')
    recorder = Recorder(node, out / 'bag', _RECORDED)
    depth_camera = _DepthCamera(node, clip)
    progress = Progress(
        SpinnerColumn(), TextColumn('{task.description}'), TimeElapsedColumn(), console=console)
    logs = {name: out / f'{name}.log' for name in ('segmenter', 'lifter', 'camera')}
    try:
        with ExitStack() as stack:
            task = stack.enter_context(progress).add_task('Loading the model')
            running = {
                name: stack.enter_context(running_process(_command(name, arguments, out), log))
                for name, log in logs.items() if name != 'camera'}
            for name, listener in (('segmenter', segmenting), ('lifter', lifting)):
                spin_until(
                    node, lambda of=listener: of.active, running[name],  # type: ignore[misc]
                    _START_SECONDS, logs[name])
            playing = stack.enter_context(
                running_process(_command('camera', arguments, out), logs['camera']))
            while playing.poll() is None:
                rclpy.spin_once(node, timeout_sec=0.1)
                progress.update(task, description=(
                    f'{recorder.counts[_DEPTH]} images, {recorder.counts[_TRACKS]} lifted'))
                for name, process in running.items():
                    check_running(process, logs[name])
            segmenting.forget()
            spin_until(
                node, lambda: segmenting.idle, running['segmenter'], _IDLE_SECONDS,
                logs['segmenter'])
            lifting.forget()
            spin_until(
                node, lambda: lifting.facts.get('instances waiting or in work') == '0',
                running['lifter'], _IDLE_SECONDS, logs['lifter'])
        if not recorder.counts[_TRACKS]:
            raise DemoError(f'nothing was lifted: {lifting.facts.get("message")}')
        return lifting.facts
    finally:
        del depth_camera
        recorder.close()
        node.destroy_node()
        rclpy.try_shutdown()


def _command(name: str, arguments: Namespace, out: Path) -> list[str]:
    """Return the arguments with which Python runs a node."""
    if name == 'segmenter':
        return [
            '-m', 'stmask_ros.node.segmenter_node', '--ros-args', '-r', f'image:={_IMAGES}',
            '-p', 'autostart:=true', '-p', f'model:={arguments.model}',
            '-p', f'device:={arguments.device}',
            '-p', f'birth_threshold:={float(arguments.birth_threshold)}',
            *look_parameters(arguments)]
    if name == 'lifter':
        return [
            '-m', 'stmask_ros.lifter.lifter_node', '--ros-args', '-p', 'autostart:=true',
            '-r', f'instances:={_INSTANCES}', '-r', f'depth:={_DEPTH}',
            '-r', f'depth_camera_info:={_DEPTH_INFO}', '-r', f'camera_info:={_CAMERA_INFO}',
            '-r', f'pose:={_POSE}', '-p', 'transforms:=pose', '-p', f'fixed_frame:={_FIXED}',
            '-p', 'transform_wait:=1.0']
    return [
        '-m', 'stmask_ros.camera.node', '--ros-args', '-r', '__ns:=/camera',
        '-p', f"source:='{out / 'scene'}'", '-p', 'stamps:=source', '-p', f'rate:={_PLAYED_RATE}',
        '-p', 'loop:=false', '-p', 'wait_for_subscribers:=3']


# What came out.


def _read_tracks(bag: Path) -> list[Any]:
    return [message.content for message in read_bag(bag, _TRACKS)]


def _stamp(content: Any) -> int:
    return int(content.header.stamp.sec) * 1_000_000_000 + int(content.header.stamp.nanosec)


def _errors(clip: _Clip, seen: Sequence[Any]) -> npt.NDArray[np.float64]:
    """Return how far measured tracks are from the nearest surface, as a share of the distance."""
    errors = []
    for content in seen:
        frame = clip.at(_stamp(content))
        places = _true_places(clip.scene, frame)
        for item in content.instances:
            if item.measured and len(places):
                place = np.array([item.position.x, item.position.y, item.position.z])
                distance = np.linalg.norm(place - frame.to_world.translation)
                errors.append(np.linalg.norm(places - place, axis=1).min() / distance)
    return np.array(errors, np.float64)


def _true_places(scene: Scene, frame: Rendered) -> npt.NDArray[np.float64]:
    """Return the middles of the visible surfaces, [N, 3] in the world [m]."""
    points = np.column_stack([
        scene.camera.rays * frame.depth.reshape(-1, 1), frame.depth.ravel()]).astype(np.float64)
    ids = frame.ids.ravel()
    middles = [points[ids == index].mean(axis=0) for index in np.unique(ids[ids > 0])]
    return np.asarray(frame.to_world.apply(np.array(middles).reshape(-1, 3)), np.float64)


def _draw(clip: _Clip, seen: Sequence[Any], out: Path) -> None:
    """Draw picture and video: what the camera saw, and the map beside it."""
    overlays = {
        _stamp(message.content): picture for message, picture in zip(
            read_bag(out / 'bag', _OVERLAY), pictures(out / 'bag', _OVERLAY), strict=True)}
    frames = list(_frames(clip, seen, overlays))
    write_video(out / 'tracks.mp4', frames, _RATE)
    if frames:
        moments = [frames[round(share * (len(frames) - 1))] for share in (0.1, 0.5, 0.9)]
        sheet = cv2.resize(np.vstack(moments), None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
        write_picture(out / 'top_view.png', np.asarray(sheet, np.uint8))


def _frames(
    clip: _Clip, seen: Sequence[Any], overlays: dict[int, npt.NDArray[np.uint8]]
) -> Iterator[npt.NDArray[np.uint8]]:
    paths: dict[int, list[list[float]]] = defaultdict(list)
    for content in seen:
        frame = clip.at(_stamp(content))
        for item in content.instances:
            if np.isfinite(item.position.x):
                paths[item.track_id].append([item.position.x, item.position.y])
        tracks = [
            _top_track(item, np.array(paths[item.track_id])) for item in content.instances
            if np.isfinite(item.position.x)]
        forward = frame.to_world.rotation[:2, 2]
        camera = (frame.to_world.translation[:2], forward / np.linalg.norm(forward))
        map_picture = _MAP.draw(tracks, _outlines(clip.scene, frame.time), camera)
        overlay = overlays.get(_stamp(content), frame.picture)
        height = map_picture.shape[0]
        width = round(overlay.shape[1] * height / overlay.shape[0]) // 2 * 2
        yield np.hstack([cv2.resize(overlay, (width, height)), map_picture])


def _top_track(item: Any, path: npt.NDArray[np.float64]) -> TopTrack:
    pose, size = item.box_pose, item.box_size
    return TopTrack(
        track_id=item.track_id, path=path,
        center=np.array([pose.position.x, pose.position.y]), size=(size.x, size.y),
        yaw=2 * float(np.arctan2(pose.orientation.z, pose.orientation.w)),
        velocity=np.array([item.velocity.x, item.velocity.y]),
        label=f'#{item.track_id} {item.class_name}', measured=bool(item.measured))


def _outlines(scene: Scene, seconds: float) -> list[npt.NDArray[np.float64]]:
    """Return what is truly there, as seen from above: the footprint of each shape."""
    outlines = []
    for shape in scene.shapes:
        turns = np.linspace(0, 2 * np.pi, 25)[:-1]
        outline = np.stack([np.cos(turns), np.sin(turns)], axis=1) / 2
        if shape.kind not in ('sphere', 'cylinder'):
            outline = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) / 2
        cosine, sine = np.cos(shape.yaw), np.sin(shape.yaw)
        turn = np.array([[cosine, -sine], [sine, cosine]])
        outlines.append(
            shape.center_at(seconds)[:2] + (outline * np.array(shape.size[:2])) @ turn.T)
    return outlines


def _summary(
    facts: dict[str, str], seen: Sequence[Any], errors: npt.NDArray[np.float64]
) -> Table:
    table = Table(title='stmask_ros demo with depth', show_header=False)
    ids = {item.track_id for content in seen for item in content.instances}
    rows = [
        ('pairs lifted', facts.get('instances lifted', '?')),
        ('tracks', str(len(ids))),
        ('output frame', facts.get('output frame', '?')),
    ]
    if len(errors):
        rows.append((
            'distance to the nearest true surface, median / 90th percentile',
            f'{np.median(errors):.1%} / {np.percentile(errors, 90):.1%} of the distance'))
    rows += [(k, v) for k, v in sorted(facts.items()) if 'dropped: ' in k]
    for name, value in rows:
        table.add_row(name, value)
    return table
