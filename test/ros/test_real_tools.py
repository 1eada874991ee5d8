"""With the real tools of ROS 2, where they are installed: what they say of our nodes and files."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rclpy
import yaml
from annotated_clip import TOPIC, crossing_shapes, write_bag
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from segmenter_process import RELIABLE, UNTRAINED, SegmenterProcess

from stmask_ros.bags import read_bag
from stmask_ros.msg import TrackedInstanceArray
from stmask_ros.node.parameters import Parameters

ROOT = Path(__file__).resolve().parents[2]


def needs(*modules: str) -> pytest.MarkDecorator:
    """Skip a test with its reason where `ros2` or one of its parts is not installed."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if shutil.which('ros2') is None:
        missing.append('the command ros2')
    return pytest.mark.skipif(bool(missing), reason=f'not installed: {", ".join(missing)}')


@needs('ros2cli', 'ros2param')
def test_param_dump_writes_every_parameter_and_the_node_takes_the_file(tmp_path: Path) -> None:
    with SegmenterProcess('segmenter_dumped', '-p', f'model:={UNTRAINED}') as process:
        process.activate()
        command = ['ros2', 'param', 'dump', '--no-daemon', '--spin-time', '5', '/segmenter_dumped']
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    dumped = yaml.safe_load(done.stdout)['/segmenter_dumped']['ros__parameters']
    assert {field.name for field in dataclasses.fields(Parameters)} <= set(dumped)
    (tmp_path / 'dumped.yaml').write_text(done.stdout)
    with SegmenterProcess(
        'segmenter_dumped', '--params-file', str(tmp_path / 'dumped.yaml')
    ) as again:
        again.activate()
        assert 'no parameter' not in again.log()


@pytest.fixture
def stamps() -> Callable[[subprocess.Popen[bytes]], list[int]]:
    """Return what collects the stamps of a segmenter's answers until a launch ends."""
    def collect(launch: subprocess.Popen[bytes]) -> list[int]:
        context = rclpy.Context()
        rclpy.init(context=context)
        node = Node('listener', context=context)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        found: list[int] = []
        node.create_subscription(
            TrackedInstanceArray, '/segmenter/instances', lambda message: found.append(
                message.header.stamp.sec * 10**9 + message.header.stamp.nanosec), RELIABLE)
        end = time.monotonic() + 240
        while launch.poll() is None and time.monotonic() < end:
            executor.spin_once(timeout_sec=0.1)
        node.destroy_node()
        rclpy.shutdown(context=context)
        return found
    return collect


@needs('ros2cli', 'ros2launch', 'ros2bag', 'rosbag2_py')
def test_a_bag_that_rosbag2_plays_is_heard_from_its_first_image(
    tmp_path: Path, stamps: Callable[[subprocess.Popen[bytes]], list[int]]
) -> None:
    bag = write_bag(tmp_path / 'bag', crossing_shapes('shapes', 5, 1))
    recorded = [
        message.content.header.stamp.sec * 10**9 + message.content.header.stamp.nanosec
        for message in read_bag(bag, TOPIC)
    ]
    launch = subprocess.Popen(
        ['ros2', 'launch', str(ROOT / 'launch/replay.launch.py'), f'bag:={bag}', 'player:=rosbag2',
         f'model:={UNTRAINED}'],
        stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, env=os.environ)
    try:
        heard = stamps(launch)
    finally:
        if launch.poll() is None:
            launch.send_signal(signal.SIGINT)
            launch.wait(20)
    assert heard
    assert heard[0] == recorded[0]
    assert set(heard) <= set(recorded)


def test_message_filters_pairs_images_and_answers_by_their_stamps() -> None:
    filters = pytest.importorskip('message_filters', reason='not installed: message_filters')
    from sensor_msgs.msg import Image

    image, answer = filters.SimpleFilter(), filters.SimpleFilter()
    pairs: list[tuple[Image, TrackedInstanceArray]] = []
    filters.TimeSynchronizer([image, answer], 10).registerCallback(
        lambda *pair: pairs.append(pair))
    for second in np.arange(1, 4).tolist():
        ours, theirs = Image(), TrackedInstanceArray()
        ours.header.stamp.sec = theirs.header.stamp.sec = second
        image.signalMessage(ours)
        answer.signalMessage(theirs)
    assert [one.header.stamp.sec for one, _ in pairs] == [1, 2, 3]
