# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Publishers, subscribers and clocks that misbehave while the node runs."""

from __future__ import annotations

import itertools
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState
from rosgraph_msgs.msg import Clock
from segmenter_process import SegmenterProcess, every_image, image, picture
from sensor_msgs.msg import Image

NAME = 'streams'
TOPIC = f'/{NAME}/camera'

Note = Callable[[str, object], None]


@pytest.fixture(scope='module')
def process(family: str, small_model: Path) -> Iterator[SegmenterProcess]:
    arguments = (
        '-p', f'model:={small_model}', '-p', 'torch_threads:=1', '-p', 'use_sim_time:=true',
        *every_image(TOPIC))
    with SegmenterProcess(NAME, *arguments) as segmenter:
        segmenter.activate()
        yield segmenter


@pytest.fixture
def segmenter(process: SegmenterProcess) -> SegmenterProcess:
    """Return the node at the start of an epoch."""
    process.reset()
    return process


@pytest.fixture
def camera(segmenter: SegmenterProcess) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Return a function that starts a camera in a process of its own."""
    running: list[subprocess.Popen[bytes]] = []

    def _camera() -> subprocess.Popen[bytes]:
        running.append(subprocess.Popen(
            [sys.executable, '-m', 'stmask_ros.camera.node', '--ros-args',
             '-r', f'image_raw:={TOPIC}',
             '-p', f'qos_overrides.{TOPIC}.publisher.reliability:=reliable',
             '-p', 'width:=160', '-p', 'height:=120'],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        return running[-1]

    yield _camera
    for process in running:
        process.kill()
        process.wait()
    segmenter.counts()  # once its last image is answered


@pytest.mark.long_for_others
def test_a_publisher_that_vanishes(
    segmenter: SegmenterProcess, camera: Callable[[], subprocess.Popen[bytes]],
    record_property: Note,
) -> None:
    """After kill -9 of the camera: a warning that no images come; the next camera is answered."""
    first = camera()
    segmenter.spin_until(lambda: len(segmenter.outputs) > 5, 'answers')
    first.kill()
    first.wait()
    segmenter.spin_until(
        lambda: segmenter.status is not None and segmenter.status.level == DiagnosticStatus.WARN
        and segmenter.status.message.startswith('no image for'), 'the warning')
    camera()
    answered = len(segmenter.outputs)
    segmenter.spin_until(lambda: len(segmenter.outputs) > answered, 'an answer')
    segmenter.spin_until(
        lambda: not segmenter.status.message.startswith('no image for'), 'no warning')
    record_property('answers to the first camera', answered)
    record_property('epochs', segmenter.outputs[-1].epoch - segmenter.outputs[0].epoch + 1)


def reshaped(stamp_ms: int, width: int, height: int, code: int | None, encoding: str) -> Image:
    """Return an image of another size and encoding."""
    pixels = cv2.resize(picture(), (width, height))
    pixels = pixels if code is None else cv2.cvtColor(pixels, code)
    message = Image(
        header=image(stamp_ms).header, width=width, height=height, encoding=encoding,
        step=pixels.strides[0])
    message.data.frombytes(pixels.tobytes())
    return message


def test_resolution_and_encoding_change_with_every_image(segmenter: SegmenterProcess) -> None:
    """Each is answered in its own size; a new size is a new epoch, a new encoding is not."""
    kinds = itertools.product(
        [(160, 120), (64, 48), (1, 1), (320, 8)],
        [(None, 'bgr8'), (cv2.COLOR_BGR2RGB, 'rgb8'), (cv2.COLOR_BGR2GRAY, 'mono8')])
    last = None
    for stamp, ((width, height), (code, encoding)) in enumerate(kinds, start=1):
        answer = segmenter.answer(reshaped(stamp, width, height, code, encoding))
        assert (answer.image_width, answer.image_height) == (width, height)
        if last is not None:
            changed = (last.image_width, last.image_height) != (width, height)
            assert answer.epoch == last.epoch + changed
        last = answer


@pytest.mark.long_for_others
def test_two_publishers_on_one_topic(segmenter: SegmenterProcess) -> None:
    """Their images alternate, half a second apart in time: each step back is a new epoch."""
    epochs = [segmenter.answer(image(stamp + offset)).epoch
              for stamp in range(1000, 1300, 100) for offset in (500, 0)]
    rises = [after - before for before, after in itertools.pairwise(epochs)]
    assert rises == [1, 0, 1, 0, 1]


SUBSCRIBER = """
import sys, time, rclpy
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from stmask_ros.msg import TrackedInstanceArray
rclpy.init()
node = rclpy.create_node('sleeper')
quality = QoSProfile(history=HistoryPolicy.KEEP_ALL, reliability=ReliabilityPolicy.RELIABLE)
node.create_subscription(TrackedInstanceArray, sys.argv[1] + '/instances', print, quality)
node.create_subscription(Image, sys.argv[1] + '/overlay', print, quality)
time.sleep(3600)
"""


@pytest.fixture
def sleeper(segmenter: SegmenterProcess) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Return a function that starts a process that subscribes, keeps all, and takes nothing."""
    running: list[subprocess.Popen[bytes]] = []

    def _sleeper() -> subprocess.Popen[bytes]:
        topic = f'/{NAME}/overlay'
        before = segmenter.client.count_subscribers(topic)
        running.append(subprocess.Popen([sys.executable, '-c', SUBSCRIBER, f'/{NAME}']))
        segmenter.spin_until(
            lambda: segmenter.client.count_subscribers(topic) > before, 'the subscriber')
        return running[-1]

    yield _sleeper
    for process in running:
        process.kill()
        process.wait()


def answer_times(segmenter: SegmenterProcess, stamps: range) -> list[float]:
    """Return how long the node took for each of some images, from receipt on [s]."""
    times = [segmenter.answer(image(stamp)).processing_time for stamp in stamps]
    return [time.sec + time.nanosec * 1e-9 for time in times]


@pytest.mark.long_for_others
@pytest.mark.parametrize(
    'end', [None, signal.SIGSTOP, signal.SIGKILL], ids=['asleep', 'SIGSTOP', 'SIGKILL'])
def test_a_subscriber_that_takes_nothing(
    segmenter: SegmenterProcess, sleeper: Callable[[], subprocess.Popen[bytes]],
    record_property: Note, end: signal.Signals | None,
) -> None:
    """It never spins, is stopped, or dies in the middle: all images are answered as before."""
    # With a good listener from the start: drawing pictures has its price either way.
    topic = f'/{NAME}/overlay'
    good = segmenter.client.create_subscription(Image, topic, lambda _: None, 1)
    segmenter.spin_until(lambda: segmenter.client.count_subscribers(topic) > 0, 'the listener')
    alone = answer_times(segmenter, range(1000, 1020))
    process = sleeper()
    beside = answer_times(segmenter, range(2000, 2010))
    if end is not None:
        process.send_signal(end)
    beside += answer_times(segmenter, range(2010, 2020))
    ratio = statistics.median(beside) / statistics.median(alone)
    segmenter.client.destroy_subscription(good)
    record_property('median time of an answer, with the subscriber / without', f'{ratio:.2f}')
    record_property('slowest answer, with and without [s]', f'{max(beside):.3f} {max(alone):.3f}')
    assert segmenter.counts().dropped(['publishing failed']) == 0


@pytest.mark.long_for_others
def test_a_clock_that_stands_still_and_starts_late(segmenter: SegmenterProcess) -> None:
    """The node runs on simulated time: no /clock, a late one, and one that jumps back."""
    epoch = segmenter.answer(image(1000)).epoch
    segmenter.facts()  # reports go on without a clock
    clock = segmenter.client.create_publisher(Clock, '/clock', 1)
    segmenter.spin_until(lambda: clock.get_subscription_count() > 0, 'the clock')
    for stamp, now in enumerate((1000, 1001, 5, 6), start=1001):
        message = Clock()
        message.clock.sec = now
        clock.publish(message)
        answer = segmenter.answer(image(stamp))
        # What counts is the time of the images, and that goes on.
        assert (answer.epoch, answer.sequence) == (epoch, stamp - 1000 + 1)
    segmenter.client.destroy_publisher(clock)


@pytest.mark.long_for_others
def test_a_storm_of_transitions(segmenter: SegmenterProcess) -> None:
    """Transitions asked for many times over, most of them impossible: the state stays sound."""
    client = segmenter.client.create_client(ChangeState, f'/{NAME}/change_state')
    segmenter.spin_until(client.service_is_ready, 'the service')
    for number in range(30):
        request = ChangeState.Request()
        request.transition.id = (
            Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_DEACTIVATE,
            Transition.TRANSITION_ACTIVATE)[number % 3]
        client.call_async(request)
        segmenter.images.publish(image(1000 + number))
        segmenter.executor.spin_once(timeout_sec=0.01)
    # Requests are handled one after the other: these come after all others.
    assert segmenter.change_state(Transition.TRANSITION_DEACTIVATE)
    assert segmenter.change_state(Transition.TRANSITION_ACTIVATE)
    assert segmenter.state() == State.PRIMARY_STATE_ACTIVE
    segmenter.client.destroy_client(client)
    segmenter.warm_up(image)
    counts = segmenter.counts()
    assert counts.received == counts.processed + counts.dropped()


@pytest.mark.long_for_others
def test_a_stopped_process_goes_on_with_the_newest_image(
    segmenter: SegmenterProcess, record_property: Note
) -> None:
    """SIGSTOP for two seconds under images: then the newest is answered, and the books agree."""
    segmenter.process.send_signal(signal.SIGSTOP)
    segmenter.play(2.0)
    segmenter.process.send_signal(signal.SIGCONT)
    begin = time.monotonic()
    assert segmenter.answer_to(image(50_000)).header == image(50_000).header
    record_property('recovery [s]', f'{time.monotonic() - begin:.2f}')
    counts = segmenter.counts()
    assert counts.received == counts.processed + counts.dropped()
