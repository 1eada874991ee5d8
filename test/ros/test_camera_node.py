# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The camera node in a process of its own, over DDS."""

import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
import rclpy
from annotated_clip import crossing_shapes, write_bag
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from stmask_ros.images import compressed_to_bgr, to_bgr
from stmask_ros.sources.built_in_clip import BuiltInClip

DEADLINE = 120.0
# As drivers' data are heard; deep, because a busy machine may not run this process for a while.
BEST_EFFORT = QoSProfile(depth=200, reliability=ReliabilityPolicy.BEST_EFFORT)
ONCE = ('-p', 'loop:=false', '-p', 'wait_for_subscribers:=1')
CALIBRATION = """
image_width: 64
image_height: 48
camera_name: test
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0.1, 0.2, 0.0, 0.0, 0.3]}
camera_matrix: {rows: 3, cols: 3, data: [50.0, 0.0, 31.5, 0.0, 51.0, 23.5, 0.0, 0.0, 1.0]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [50, 0, 31.5, 0, 0, 51, 23.5, 0, 0, 0, 1, 0]}
"""


class Camera:
    """The node's process, and what subscribers receive from it."""

    def __init__(self, *arguments, topics=(Image, CompressedImage, CameraInfo)):
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = Node('viewer', context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.images, self.jpegs, self.infos = [], [], []
        for kind, topic, received in (
            (Image, 'image_raw', self.images),
            (CompressedImage, 'image_raw/compressed', self.jpegs),
            (CameraInfo, 'camera_info', self.infos),
        ):
            if kind in topics:
                self.node.create_subscription(
                    kind, topic, received.append, BEST_EFFORT)
        self.process = subprocess.Popen(
            [sys.executable, '-m', 'stmask_ros.camera.node', '--ros-args', *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def spin_until(self, condition):
        end = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < end, f'no end in sight: {self.finish()}'
            self.executor.spin_once(timeout_sec=0.1)

    def spin_to_the_end(self):
        self.spin_until(lambda: self.process.poll() is not None)
        for _ in range(100):
            self.executor.spin_once(timeout_sec=0)

    def finish(self, number=signal.SIGINT):
        """Send a signal; return the exit code and all output."""
        self.process.send_signal(number)
        output, _ = self.process.communicate(timeout=10)
        return self.process.returncode, output

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def camera():
    """Return what starts a camera."""
    started = []

    def start(*arguments, **options):
        started.append(Camera(*arguments, **options))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def folder(tmp_path):
    """Return a folder of five grey pictures of 64x48; the third is broken."""
    for index in range(5):
        grey = np.full((48, 64, 3), 20 * index, np.uint8)
        cv2.imwrite(str(tmp_path / f'{index}.jpg'), grey)
    (tmp_path / '2.jpg').write_bytes((tmp_path / '2.jpg').read_bytes()[:200])
    return tmp_path


def stamp(message):
    return message.header.stamp.sec, message.header.stamp.nanosec


def test_subscribers_that_want_nothing_lost_hear_it_too(camera):
    """As republishers and RViz do by default, and drivers offer (REP 2003)."""
    viewer = camera('-p', 'rate:=20.0', topics=())
    heard = []
    reliable = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
    viewer.node.create_subscription(CameraInfo, 'camera_info', heard.append, reliable)
    viewer.node.create_subscription(
        CompressedImage, 'image_raw/compressed', heard.append, reliable)
    viewer.spin_until(lambda: {type(message) for message in heard} == {
        CameraInfo, CompressedImage})


def test_the_built_in_clip_plays_until_a_signal(camera):
    clip = camera('-p', 'rate:=20.0')
    clip.spin_until(lambda: min(map(len, (clip.images, clip.jpegs, clip.infos))) > 20)
    first = to_bgr(clip.images[0])
    assert first.shape == (360, 640, 3)
    assert clip.images[0].header.frame_id == 'camera'
    played = BuiltInClip()
    assert any(np.array_equal(first, played.frame(index / 30)) for index in range(240))
    assert list(clip.infos[0].k) == [0.0] * 9
    assert (clip.infos[0].width, clip.infos[0].height) == (640, 360)
    times = [sec + nanosec / 1e9 for sec, nanosec in map(stamp, clip.images[-20:])]
    # At 30 Hz, the clip's own rate, they would take 0.63 s. Frames that follow a delay catch up by
    # at most 0.2 s, and a stamp is taken a little after its frame is due.
    assert times[-1] - times[0] > 19 * 0.05 - 0.2 - 0.02
    code, output = clip.finish(signal.SIGTERM)
    assert code == 0
    assert 'Traceback' not in output


def test_a_folder_once_and_its_broken_picture_is_skipped(camera, folder):
    (folder / 'camera.yaml').write_text(CALIBRATION)
    once = camera('-p', f'source:={folder}', '-p', 'frame_id:=front', *ONCE,
                  '-p', f'camera_info_url:=file://{folder}/camera.yaml')
    once.spin_to_the_end()
    code, output = once.finish()
    assert code == 0
    assert '2.jpg' in output or 'cut off' in output
    assert 'Traceback' not in output
    sent = [(folder / f'{index}.jpg').read_bytes() for index in (0, 1, 3, 4)]
    assert [bytes(message.data) for message in once.jpegs] == sent
    assert [round(float(to_bgr(message).mean())) for message in once.images] == [0, 20, 60, 80]
    assert len(once.infos) == 4
    headers = [[(stamp(m), m.header.frame_id) for m in received]
               for received in (once.images, once.jpegs, once.infos)]
    assert headers[0] == headers[1] == headers[2]
    assert headers[0][0][1] == 'front'
    assert once.infos[0].k[0] == 50.0
    assert list(once.infos[0].d) == [0.1, 0.2, 0.0, 0.0, 0.3]


def test_resizing_scales_the_calibration_too(camera, folder):
    (folder / 'camera.yaml').write_text(CALIBRATION)
    small = camera('-p', f'source:={folder}', '-p', 'width:=32', '-p', 'height:=24',
                   '-p', f'camera_info_url:={folder}/camera.yaml')
    small.spin_until(lambda: small.images and small.jpegs and small.infos)
    assert (small.images[0].width, small.images[0].height) == (32, 24)
    assert compressed_to_bgr(small.jpegs[0]).shape == (24, 32, 3)
    assert (small.infos[0].k[0], small.infos[0].k[4]) == (25.0, 25.5)
    assert (small.infos[0].k[2], small.infos[0].p[6]) == (15.5, 11.5)


def test_a_bag_with_its_own_stamps(camera, shared):
    bag = shared / 'data' / 'rosbag2_davis' / 'dog'
    dog = camera('-p', f'source:={bag}', '-p', 'stamps:=source', '-p', 'rate:=60.0', *ONCE,
                 topics=(CompressedImage,))
    dog.spin_to_the_end()
    assert dog.finish()[0] == 0
    files = sorted((shared / 'data' / 'davis' / 'JPEGImages' / 'dog').iterdir())
    assert [bytes(message.data) for message in dog.jpegs] == [f.read_bytes() for f in files]
    assert stamp(dog.jpegs[0]) == (1_700_000_000, 0)
    assert all(first < second for first, second in zip(
        map(stamp, dog.jpegs), map(stamp, dog.jpegs[1:]), strict=False))


def test_a_bag_of_drawn_pictures_with_its_own_stamps(camera, tmp_path):
    clip = crossing_shapes('drawn', 4, 1)
    bag = write_bag(tmp_path / 'bag', clip, '.jpg')
    drawn = camera('-p', f'source:={bag}', '-p', 'stamps:=source', '-p', 'rate:=10.0', *ONCE,
                   topics=(CompressedImage,))
    drawn.spin_to_the_end()
    assert drawn.finish()[0] == 0
    sent = [cv2.imencode('.jpg', frame)[1].tobytes() for frame in clip.frames]
    assert [bytes(message.data) for message in drawn.jpegs] == sent
    assert [1_000_000_000 * seconds + rest for seconds, rest in map(stamp, drawn.jpegs)] == (
        clip.stamps)


@pytest.mark.parametrize(('argument', 'text'), [
    ('source:=/no/such/place', "source '/no/such/place' does not exist"),
    ('rate:=-1.0', 'rate out of range Min: 0.0, Max: 1000.0, value: -1.0'),
    ('stamps:=source', 'no recorded stamps'),
])
def test_a_wrong_parameter_ends_it_with_one_line(argument, text):
    done = subprocess.run(
        [sys.executable, '-m', 'stmask_ros.camera.node', '--ros-args', '-p', argument],
        capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 1
    output = done.stdout + done.stderr
    assert text in output
    assert output.count('FATAL') == 1
    assert 'Traceback' not in output


def test_a_signal_while_it_waits_for_a_subscriber(camera):
    waiting = camera(*ONCE, topics=())
    waiting.spin_until(lambda: 'camera' in waiting.node.get_node_names())
    code, output = waiting.finish()
    assert code == 0
    assert 'Traceback' not in output
