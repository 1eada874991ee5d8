# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The segmenter's life: transitions, refusals that can be retried, and a clean end."""

from __future__ import annotations

import importlib.util
import itertools
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from lifecycle_msgs.msg import State, Transition
from rclpy.qos import ReliabilityPolicy
from segmenter_process import UNTRAINED, SegmenterProcess, image, picture
from sensor_msgs.msg import CompressedImage
from std_srvs.srv import Trigger

Start = Callable[..., SegmenterProcess]

EXPORTED = re.compile(r'exported (\S+) in \d+ s')


@pytest.fixture
def start() -> Iterator[Start]:
    """Return a function that starts a node and ends it after the test."""
    running: list[SegmenterProcess] = []

    def _start(name: str, *arguments: str) -> SegmenterProcess:
        running.append(SegmenterProcess(name, *arguments))
        return running[-1]

    yield _start
    for process in running:
        process.close()


def test_a_whole_life(start: Start) -> None:
    """Configure, activate, deactivate, clean up, and once more; then shut down."""
    segmenter = start('segmenter_life')
    assert segmenter.state() == State.PRIMARY_STATE_UNCONFIGURED
    assert not segmenter.call(Trigger, 'reset', Trigger.Request()).success
    segmenter.send_impossible_transition(Transition.TRANSITION_ACTIVATE)
    assert segmenter.state() == State.PRIMARY_STATE_UNCONFIGURED
    epochs = []
    for _ in range(2):
        segmenter.activate()
        epochs.append(segmenter.answer(image(1000)).epoch)
        assert segmenter.facts()['state'] == 'active'
        assert segmenter.change_state(Transition.TRANSITION_DEACTIVATE)
        assert segmenter.change_state(Transition.TRANSITION_CLEANUP)
        assert segmenter.facts()['model'] == ''
        assert segmenter.client.count_publishers('/segmenter_life/instances') == 0
    assert epochs[0] < epochs[1]
    assert segmenter.change_state(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
    assert segmenter.state() == State.PRIMARY_STATE_FINALIZED
    segmenter.process.send_signal(signal.SIGINT)
    assert segmenter.process.wait(10) == 0
    assert 'Traceback' not in segmenter.log()


def test_a_node_that_waits_says_for_what(start: Start) -> None:
    """A parameter file that comes later wins over autostart; the node does not wait in silence."""
    parameters = Path(__file__).resolve().parents[2] / 'config' / 'stmask.yaml'
    segmenter = start('segmenter_waits', '-p', 'autostart:=true', '--params-file', str(parameters))
    segmenter.wait_for_log('waits for a lifecycle manager')
    assert segmenter.state() == State.PRIMARY_STATE_UNCONFIGURED


@pytest.mark.parametrize(('parameter', 'explanation'), [
    pytest.param('device:=cuda', 'CUDA', marks=pytest.mark.skipif(
        torch.cuda.is_available(), reason='here CUDA is available')),
    ('model:=no_such_model', 'no_such_model'),
    pytest.param(
        'engine:=tensorrt', "engine 'tensorrt' was asked for and is not installed",
        marks=pytest.mark.skipif(
            importlib.util.find_spec('tensorrt') is not None, reason='tensorrt is installed')),
])
def test_what_is_missing_fails_configure(
    start: Start, parameter: str, explanation: str
) -> None:
    """The node says what is missing, stays unconfigured, and can be asked again."""
    segmenter = start('segmenter_missing', '-p', parameter)
    for _ in range(2):
        assert not segmenter.change_state(Transition.TRANSITION_CONFIGURE)
        assert segmenter.state() == State.PRIMARY_STATE_UNCONFIGURED
    log = segmenter.log()
    assert 'not configured' in log
    assert explanation in log
    assert 'Traceback' not in log


@pytest.mark.skipif(
    importlib.util.find_spec('onnxruntime') is None, reason='onnxruntime is not installed')
def test_configure_exports_what_the_engine_lacks(tmp_path: Path) -> None:
    """It says what takes long and how long it took, answers, and the next start finds it."""
    environment = os.environ | {'XDG_CACHE_HOME': str(tmp_path)}
    arguments = ('-p', 'autostart:=true', '-p', f'model:={UNTRAINED}', '-p', 'engine:=onnxruntime')
    with SegmenterProcess('segmenter_exports', *arguments, env=environment) as segmenter:
        segmenter.spin_until(lambda: 'by onnxruntime' in segmenter.log(), 'the export', 900)
        segmenter.warm_up(image)
        assert len(segmenter.answer(image(1000)).instances) > 0
        assert segmenter.facts()['engine'].startswith('onnxruntime ')
        log = segmenter.log()
        assert 'once, within a minute or two' in log
        exported = EXPORTED.findall(log)
    assert {Path(file) for file in exported} == set(tmp_path.rglob('*.onnx'))
    with SegmenterProcess('segmenter_finds', *arguments, env=environment) as segmenter:
        segmenter.warm_up(image)
        assert not EXPORTED.search(segmenter.log())


def test_wrong_parameters_are_listed_at_the_start(start: Start) -> None:
    """All of them at once, in words, and the exit code tells of the failure."""
    segmenter = start(
        'segmenter_wrong', '-p', 'score_threshold:=2.0', '-p', 'capacity:="many"',
        '-p', 'image_transport:=theora')
    assert segmenter.process.wait(60) == 1
    log = segmenter.log()
    assert 'score_threshold' in log
    assert 'capacity' in log
    assert "'theora' is none of raw, compressed" in log
    assert 'ros2 run image_transport republish --ros-args -p in_transport:=theora' in log
    assert 'Traceback' not in log


def test_the_end_does_not_wait_for_a_step(start: Start) -> None:
    """SIGTERM in the middle of a step: exit code 0, no traceback, before a worker has to end."""
    segmenter = start(
        'segmenter_end', '-p', 'autostart:=true', '-p', 'model:=stmask_plus_resnet50_ada',
        '-p', 'torch_threads:=1')
    segmenter.wait_for_connection()
    stamps = itertools.count(1)

    def is_at_work() -> bool:
        segmenter.images.publish(image(next(stamps)))
        return segmenter.facts()['images waiting or in work'] != '0'

    segmenter.spin_until(is_at_work, 'an image in work')
    begin = time.monotonic()
    segmenter.process.send_signal(signal.SIGTERM)
    assert segmenter.process.wait(30) == 0, segmenter.log()
    assert time.monotonic() - begin < 5.0
    assert segmenter.outputs == []
    assert 'Traceback' not in segmenter.log()


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_imports_ends_it_cleanly(start: Start, number: int) -> None:
    """PyTorch takes seconds to import: a user may think better of it meanwhile."""
    segmenter = start('segmenter_early')
    libraries = Path(f'/proc/{segmenter.process.pid}/maps')
    segmenter.spin_until(lambda: 'libtorch' in libraries.read_text(), 'the import of PyTorch')
    segmenter.process.send_signal(number)
    assert segmenter.process.wait(30) == 0, segmenter.log()
    assert 'Traceback' not in segmenter.log()


def test_an_impatient_user_sees_no_traceback(start: Start) -> None:
    """SIGINT twice, as `ros2 run` and the terminal send it together, under a load of images."""
    segmenter = start('segmenter_twice', '-p', 'autostart:=true', '-p', f'model:={UNTRAINED}')
    segmenter.wait_for_connection()
    segmenter.warm_up(image)
    for number in range(20):
        segmenter.images.publish(image(1000 + number))
    segmenter.process.send_signal(signal.SIGINT)
    segmenter.process.send_signal(signal.SIGINT)
    assert segmenter.process.wait(10) == 0, segmenter.log()
    assert 'Traceback' not in segmenter.log()


def _compressed(data: bytes, stamp_ms: int, form: str = 'jpeg') -> CompressedImage:
    message = CompressedImage(format=form, header=image(stamp_ms).header)
    message.data.frombytes(data)
    return message


def test_compressed_images(start: Start) -> None:
    """JPEG and PNG are answered; broken ones cost themselves alone; the default is best effort."""
    segmenter = start(
        'segmenter_jpeg', '-p', 'autostart:=true', '-p', 'image_transport:=compressed',
        '-p', f'model:={UNTRAINED}')
    jpeg = cv2.imencode('.jpg', picture())[1].tobytes()
    segmenter.warm_up(lambda stamp: _compressed(jpeg, stamp))
    topic = '/segmenter_jpeg/camera/compressed'
    subscription, = segmenter.client.get_subscriptions_info_by_topic(topic)
    assert subscription.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
    png = cv2.imencode('.png', picture())[1].tobytes()
    good = _compressed(jpeg, 1000)
    assert segmenter.answer(good).header == good.header
    middle = len(jpeg) // 2
    noise = np.random.default_rng(0).integers(0, 256, 1000, np.uint8).tobytes()
    for number, bad in enumerate([b'', jpeg[:middle], jpeg[:20], noise], start=1):
        before = segmenter.counts()
        segmenter.jpegs.publish(_compressed(bad, 1000 + 10 * number))
        segmenter.spin_until(
            lambda before=before: segmenter.counts().received > before.received, 'the broken one')
        after = segmenter.counts()
        assert (after.received, after.processed) == (before.received + 1, before.processed)
        assert after.dropped() == before.dropped() + 1
        answer = segmenter.answer(_compressed(png, 1005 + 10 * number, 'png'))
        assert (answer.frames_skipped, answer.sequence) == (1, number + 1)
