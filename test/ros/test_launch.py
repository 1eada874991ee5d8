# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Launch files, started with `ros2 launch` as a user does: what comes up, and how it ends.

ROS wheels do not include launch and ros2cli, so these tests skip without a ROS installation.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rclpy
from rclpy.node import Node

# The project called `launch` on PyPI is another one: it has no launch_description.
pytest.importorskip('launch.launch_description', reason='ROS 2 launch is not installed')
pytest.importorskip('launch_ros', reason='launch_ros is not installed')
if shutil.which('ros2') is None:
    pytest.skip('there is no ros2 on the PATH', allow_module_level=True)

from lifecycle_msgs.srv import GetState
from rcl_interfaces.srv import GetParameters
from rclpy.qos import qos_profile_sensor_data
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from stmask_ros.msg import TrackedInstance3DArray, TrackedInstanceArray

ROOT = Path(__file__).resolve().parent.parent.parent
DEADLINE = 120.0  # for machines that are busy with other things


class Launched:
    """One `ros2 launch` in a session of its own, and what it has written so far."""

    def __init__(self, log: Path, file: str, *arguments: str) -> None:
        self._log = log
        with log.open('wb') as stream:
            self._process = subprocess.Popen(
                ['ros2', 'launch', str(ROOT / 'launch' / file), *arguments],
                stdout=stream, stderr=subprocess.STDOUT, env=_environment(),
                start_new_session=True)

    @property
    def text(self) -> str:
        return self._log.read_text(errors='replace')

    def lines_of(self, process: str) -> str:
        """Return what one process has written; launch puts its name before every line."""
        lines = self.text.splitlines()
        return '\n'.join(line for line in lines if line.startswith(f'[{process}]'))

    def interrupt(self) -> None:
        """Signal launch alone: where it has no terminal, it passes the signal on itself."""
        self._process.send_signal(signal.SIGINT)

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def exit_code(self) -> int:
        """Return the exit code once everything has ended."""
        try:
            return self._process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            pytest.fail(f'still running after {DEADLINE} s:\n{self.text}')

    def kill(self) -> None:
        if not self.has_ended():
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def _environment() -> dict[str, str]:
    """Let the launched nodes run this checkout, and find the package on ROS wheels too."""
    environment = dict(os.environ, PYTHONUNBUFFERED='1')
    for variable, extra in (('PYTHONPATH', str(ROOT)), ('AMENT_PREFIX_PATH', sys.prefix)):
        before = environment.get(variable)
        environment[variable] = os.pathsep.join([extra, before]) if before else extra
    return environment


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Launched]]:
    started: list[Launched] = []

    def start(file: str, *arguments: str) -> Launched:
        started.append(Launched(tmp_path / f'launch{len(started)}.log', file, *arguments))
        return started[-1]

    yield start
    for launched in started:
        launched.kill()


@pytest.fixture
def observer() -> Iterator[Node]:
    rclpy.init()
    node = rclpy.create_node('observer')
    yield node
    node.destroy_node()
    rclpy.try_shutdown()


def spin_until(node: Node, condition: Callable[[], object], launched: Launched) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f'not within {DEADLINE} s. The launch says:\n{launched.text}')
        rclpy.spin_once(node, timeout_sec=0.1)


def call(node: Node, service_type: type, name: str, request: object, launched: Launched) -> object:
    client = node.create_client(service_type, name)
    spin_until(node, client.service_is_ready, launched)
    future = client.call_async(request)
    spin_until(node, future.done, launched)
    return future.result()


def collect(node: Node, topic: str, kind: type = TrackedInstanceArray) -> list[Any]:
    received: list[Any] = []
    node.create_subscription(kind, topic, received.append, 100)
    return received


def write_bag(path: Path, stamps: list[int]) -> Path:
    """Write a bag with one small image for each stamp [ns]."""
    store = get_typestore(Stores.ROS2_JAZZY)
    image, header, time_type = (
        store.types[name] for name in
        ('sensor_msgs/msg/Image', 'std_msgs/msg/Header', 'builtin_interfaces/msg/Time'))
    pixels = np.random.default_rng(0).integers(0, 256, 160 * 120 * 3, np.uint8)
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection('/eye/image_raw', image.__msgtype__, typestore=store)
        for stamp in stamps:
            message = image(
                header=header(stamp=time_type(*divmod(stamp, 10**9)), frame_id='eye'),
                height=120, width=160, encoding='bgr8', is_bigendian=0, step=480, data=pixels)
            writer.write(connection, stamp, store.serialize_cdr(message, image.__msgtype__))
    return path


def test_camera_and_segmenter_come_up_active_and_end_at_an_interrupt(launch, observer):
    launched = launch(
        'camera.launch.py', 'namespace:=robot', 'name:=eyes', 'model:=stmask_lite',
        'device:=cpu', 'score_threshold:=1')
    results = collect(observer, '/robot/eyes/instances')
    spin_until(observer, lambda: results, launched)
    first = results[0]

    state = call(observer, GetState, '/robot/eyes/get_state', GetState.Request(), launched)
    assert state.current_state.label == 'active'
    asked = GetParameters.Request(names=['score_threshold', 'max_missed'])
    threshold, max_missed = call(
        observer, GetParameters, '/robot/eyes/get_parameters', asked, launched).values
    assert threshold.double_value == 1.0  # the argument, written as an integer
    assert max_missed.integer_value == -1  # the parameter file

    assert call(observer, Trigger, '/robot/eyes/reset', Trigger.Request(), launched).success
    spin_until(observer, lambda: results[-1].epoch > first.epoch, launched)

    launched.interrupt()
    assert launched.exit_code() == 0
    assert 'Traceback' not in launched.text
    assert launched.text.count('process has finished cleanly') == 2, launched.text


def test_one_segmenter_serves_several_cameras_as_they_come_and_go(launch, observer):
    launched = launch(
        'multi_camera.launch.py', 'cameras:=left,right', 'namespace:=robot', 'device:=cpu',
        'rate:=4')
    results = {
        name: collect(observer, f'/robot/segmenter/{name}/instances') for name in ('left', 'right')
    }
    spin_until(observer, lambda: all(results.values()), launched)
    for name, messages in results.items():
        assert {message.header.frame_id for message in messages} == {name}
    reset = '/robot/segmenter/left/reset'
    assert call(observer, Trigger, reset, Trigger.Request(), launched).success
    spin_until(
        observer, lambda: results['left'][-1].epoch > results['left'][0].epoch, launched)

    camera = launched.text.split('[camera-2]: process started with pid [')[1].split(']')[0]
    os.kill(int(camera), signal.SIGKILL)
    spin_until(observer, lambda: 'camera-2]: process has died' in launched.text, launched)
    count = len(results['right'])
    spin_until(observer, lambda: len(results['right']) > count + 5, launched)
    assert {message.epoch for message in results['right']} == {1}

    launched.interrupt()
    assert launched.exit_code() == 0
    assert 'Traceback' not in launched.text


def publish_depth(node: Node, info_topic: str, depth_topic: str, kind: type) -> None:
    """Answer each camera_info of a camera with depth of two metres everywhere, of its stamp."""
    beside = depth_topic.removesuffix('/compressedDepth').rpartition('/')[0]
    depths = node.create_publisher(kind, depth_topic, 10)
    infos = node.create_publisher(CameraInfo, f'{beside}/camera_info', 10)
    info = CameraInfo(
        height=90, width=160, distortion_model='plumb_bob', d=[0.0] * 5,
        k=[150.0, 0.0, 79.5, 0.0, 150.0, 44.5, 0.0, 0.0, 1.0])

    def answer(image_info: CameraInfo) -> None:
        info.header = image_info.header
        infos.publish(info)
        depths.publish(depth_of(image_info.header, kind))

    node.create_subscription(CameraInfo, info_topic, answer, qos_profile_sensor_data)


def depth_of(header: Header, kind: type) -> Image | CompressedImage:
    pixels = np.full((90, 160), 2000, np.uint16)
    if kind is CompressedImage:
        data = bytes(12) + cv2.imencode('.png', pixels)[1].tobytes()
        return CompressedImage(header=header, format='16UC1; compressedDepth png', data=data)
    return Image(header=header, height=90, width=160, encoding='16UC1', step=320,
                 data=pixels.tobytes())


def distances(messages: list[TrackedInstance3DArray]) -> list[float]:
    return [item.position.z for message in messages for item in message.instances if item.measured]


@pytest.mark.parametrize(('argument', 'topic', 'kind'), [
    ('depth_topic:=depth/image', '/robot/depth/image', Image),
    ('depth_topic:=/depth/image/compressedDepth', '/depth/image/compressedDepth', CompressedImage),
])
def test_depth_brings_the_lifter_up(launch, observer, argument, topic, kind):
    publish_depth(observer, '/robot/camera_info', topic, kind)
    results = collect(observer, '/robot/lifter/instances_3d', TrackedInstance3DArray)
    launched = launch(
        'camera.launch.py', 'namespace:=robot', 'name:=eyes', 'device:=cpu', argument)
    spin_until(observer, lambda: distances(results), launched)
    assert distances(results)[0] == pytest.approx(2.0, abs=0.01)
    launched.interrupt()
    assert launched.exit_code() == 0
    assert 'Traceback' not in launched.text


def test_each_of_several_cameras_has_a_lifter(launch, observer):
    names = ('left', 'right')
    for name in names:
        publish_depth(observer, f'/{name}/camera_info', f'/{name}/depth/image', Image)
    results = {
        name: collect(observer, f'/{name}/lifter/instances_3d', TrackedInstance3DArray)
        for name in names}
    launched = launch(
        'multi_camera.launch.py', 'cameras:=left,right', 'device:=cpu', 'rate:=4',
        'depth_topic:={camera}/depth/image')
    spin_until(observer, lambda: all(map(distances, results.values())), launched)
    for name, messages in results.items():
        assert {message.header.frame_id for message in messages} == {name}
        assert distances(messages)[0] == pytest.approx(2.0, abs=0.01)
    launched.interrupt()
    assert launched.exit_code() == 0
    assert 'Traceback' not in launched.text


def test_what_to_look_for_reaches_the_segmenter(launch, observer):
    asked = {
        'classes': ('[person, "3"]', ['person', '3']),
        'class_thresholds': ('person: 0.4', ['person: 0.4']),
        'region': ('0 0.2 1 1', ['0 0.2 1 1']),
        'ignore_mask': ('[]', ['']),
    }
    launched = launch(
        'camera.launch.py', 'device:=cpu', 'crop:=true',
        *(f'{name}:={text}' for name, (text, _) in asked.items()))
    request = GetParameters.Request(names=[*asked, 'crop'])
    *lists, crop = call(observer, GetParameters, '/segmenter/get_parameters', request,
                        launched).values
    assert [list(value.string_array_value) for value in lists] == [
        texts for _, texts in asked.values()]
    assert crop.bool_value


def test_a_model_that_does_not_exist_ends_the_launch_with_an_error(launch):
    launched = launch('camera.launch.py', 'model:=no_such_model')
    assert launched.exit_code() != 0
    assert 'no_such_model' in launched.text
    assert 'segmenter-1 ended with exit code 1' in launched.text
    assert 'Traceback' not in launched.text


def test_a_source_that_does_not_exist_ends_the_launch_with_an_error(launch):
    launched = launch('camera.launch.py', 'source:=/no/such/video.mp4')
    assert launched.exit_code() != 0
    assert '/no/such/video.mp4' in launched.lines_of('camera-2')
    assert 'Traceback' not in launched.lines_of('camera-2')
    assert 'camera-2 ended with exit code 1' in launched.text


def test_a_segmenter_that_dies_ends_the_launch_with_an_error(launch, observer):
    launched = launch('camera.launch.py', 'device:=cpu')
    results = collect(observer, '/segmenter/instances')
    spin_until(observer, lambda: results, launched)
    segmenter = launched.text.split('[segmenter-1]: process started with pid [')[1].split(']')[0]
    os.kill(int(segmenter), signal.SIGKILL)
    assert launched.exit_code() != 0
    assert 'segmenter-1 ended with exit code -9' in launched.text


@pytest.mark.parametrize(('argument', 'advice'), [
    ('score_threshold:=high', 'expected a value of type float'),
    ('params_file:=/no/such/file.yaml', 'expected a YAML file'),
    ('image_topic:=/front/compressed', 'image_topic:=/front image_transport:=compressed'),
    ('image_topic:=/image_raw', 'write {camera} where its name belongs'),
])
def test_an_argument_with_a_wrong_value_is_named(launch, argument, advice):
    several = '{camera}' in advice
    launched = launch('multi_camera.launch.py' if several else 'camera.launch.py', argument)
    assert launched.exit_code() != 0
    assert argument in launched.text
    assert advice in launched.text


def test_a_bag_is_replayed_with_its_stamps_and_everything_ends_with_it(
    launch, observer, tmp_path
):
    stamps = [10**9 + index * 200_000_000 for index in range(25)]
    results = collect(observer, '/segmenter/instances')
    bag = write_bag(tmp_path / 'bag', stamps)
    launched = launch('replay.launch.py', f'bag:={bag}', 'device:=cpu', 'linger:=10')
    spin_until(observer, launched.has_ended, launched)
    assert launched.exit_code() == 0
    seen = [message.header.stamp.sec * 10**9 + message.header.stamp.nanosec for message in results]
    assert seen
    assert set(seen) <= set(stamps)
    assert seen == sorted(set(seen))
    assert {message.header.frame_id for message in results} == {'eye'}
    assert 'Traceback' not in launched.text
