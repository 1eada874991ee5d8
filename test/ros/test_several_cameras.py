# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""One node, several cameras: none can tell from its answers that the others are there."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from segmenter_process import RELIABLE, UNTRAINED, SegmenterProcess, image, picture
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool, Trigger
from test_live_equals_offline import assert_says

from stmask_ros.msg import TrackedInstanceArray
from stmask_ros.tracking.segmenter import load_segmenter
from stmask_ros.tracking.stream import Stream

NAMES = ('front', 'left', 'right', 'rear')
COUNT = 4


def frame(camera: int, number: int) -> Image:
    """Return a camera's image of this number, from 1; the last camera changes its size."""
    message = image(100 * number + camera, frame_id=NAMES[camera], shift=40 * camera + 3 * number)
    message.height -= 8 * camera + 2 * (camera == 3 and number > 2)
    return message


class Cameras:
    """A node with four cameras, one publisher each, and what it says of them."""

    def __init__(self, name: str, *arguments: str, trusted: bool = True) -> None:
        reliable = itertools.chain.from_iterable(
            ('-p', f'qos_overrides./{name}/{camera}/image.subscription.reliability:=reliable')
            for camera in NAMES
        )
        self.node = SegmenterProcess(
            name, '-p', f'cameras:=[{",".join(NAMES)}]', '-p', f'model:={UNTRAINED}',
            '-p', 'device:=cpu', '-p', 'torch_threads:=1', '-p', 'autostart:=true',
            *(argument for camera in NAMES for argument in
              ('-r', f'{camera}/image:=/{name}/{camera}/image')),
            *(reliable if trusted else ()), *arguments)
        self.name = name
        self.answers: dict[str, list[TrackedInstanceArray]] = {camera: [] for camera in NAMES}
        self.statuses: dict[str, DiagnosticStatus] = {}
        client = self.node.client
        for camera in NAMES:
            client.create_subscription(
                TrackedInstanceArray, f'/{name}/{camera}/instances',
                self.answers[camera].append, RELIABLE)
        client.create_subscription(DiagnosticArray, '/diagnostics', self._on_report, RELIABLE)
        self.publishers = {
            camera: client.create_publisher(Image, f'/{name}/{camera}/image', RELIABLE)
            for camera in NAMES
        }

    def _on_report(self, report: DiagnosticArray) -> None:
        for status in report.status:
            node, _, camera = status.name.partition(': ')
            if node == f'/{self.name}':
                self.statuses[camera] = status

    def facts(self, camera: str) -> dict[str, str]:
        """Return the values of the last report on a camera."""
        return {item.key: item.value for item in self.statuses[camera].values}

    def wait_until(self, condition: Callable[[], Any], what: str) -> None:
        self.node.spin_until(lambda: bool(condition()), what)

    def connect(self, *cameras: str) -> None:
        """Send images of these cameras until each is answered, then start new epochs."""
        for stamp in itertools.count(1):
            for camera in cameras:
                self.publishers[camera].publish(image(stamp))
            self.node.executor.spin_once(timeout_sec=0.2)
            if all(self.answers[camera] for camera in cameras):
                break
            assert stamp < 600, self.node.log()
        self.wait_until(
            lambda: all(self.facts(camera)['images waiting or in work'] == '0'
                        and int(self.facts(camera)['images processed']) ==
                        len(self.answers[camera]) for camera in cameras), 'the last answers')
        assert self.node.call(Trigger, 'reset', Trigger.Request()).success
        for answers in self.answers.values():
            answers.clear()

    def send(self, messages: dict[str, Image]) -> None:
        """Send an image of each of some cameras, and wait for all answers."""
        before = {camera: len(self.answers[camera]) for camera in messages}
        for camera, message in messages.items():
            self.publishers[camera].publish(message)
        self.wait_until(
            lambda: all(len(self.answers[camera]) > count for camera, count in before.items()),
            f'answers for {", ".join(messages)}')


@pytest.fixture
def start() -> Iterator[Callable[..., Cameras]]:
    with ExitStack() as stack:
        def _start(name: str, *arguments: str, trusted: bool = True) -> Cameras:
            cameras = Cameras(name, *arguments, trusted=trusted)
            stack.callback(cameras.node.close)
            return cameras
        yield _start


@pytest.fixture
def _one_thread() -> Iterator[None]:
    """Let the test compute as the node does: another number of threads changes the last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def expected(camera: int) -> list[Any]:
    """Return what the library makes of a camera's images alone."""
    segmenter = load_segmenter(UNTRAINED, 'cpu')
    stream = Stream(segmenter, itertools.count(1).__next__)
    results = []
    for number in range(1, COUNT + 1):
        message = frame(camera, number)
        pixels = np.frombuffer(message.data, np.uint8).reshape(picture().shape)[:message.height]
        stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        results.append(stream.process(
            pixels, stamp, tracker=segmenter.tracker, max_gap=10.0).result)
    return results


def trace_of(folder: Path) -> list[dict[str, Any]]:
    """Return the events of the only trace file in a folder."""
    (path,) = folder.glob('trace_*.json')
    return list(json.loads(path.read_text()))


@pytest.mark.usefixtures('_one_thread')
@pytest.mark.parametrize('max_batch', [4, 1])
def test_four_cameras_get_the_answers_of_each_alone(
    start: Callable[..., Cameras], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_batch: int
) -> None:
    """Interleaved and in common steps, to the bit; a trace tells of every image, after kill -9."""
    monkeypatch.setenv('ROS_LOG_DIR', str(tmp_path))
    cameras = start(
        f'four_{max_batch}', '-p', f'max_batch:={max_batch}', '-p', 'batch_wait:=0.5',
        '-p', 'trace:=true')
    cameras.connect(*NAMES)
    for number in range(1, COUNT + 1):
        order = np.random.default_rng(number).permutation(len(NAMES)).tolist()
        cameras.send({NAMES[camera]: frame(camera, number) for camera in order})
    for camera, name in enumerate(NAMES):
        answers = cameras.answers[name]
        assert {answer.header.frame_id for answer in answers} == {name}
        for answer, result in zip(answers, expected(camera), strict=True):
            assert_says(answer, result)
    assert any(answer.instances for answer in cameras.answers['rear'])
    cameras.node.process.kill()
    _check_trace(trace_of(tmp_path), cameras, max_batch)


def _check_trace(events: list[dict[str, Any]], cameras: Cameras, max_batch: int) -> None:
    threads = {event['tid']: event['args']['name'] for event in events
               if event['name'] == 'thread_name'}
    receivers = {name: f'receiver /four_{max_batch}/{name}/image' for name in NAMES}
    assert sorted(threads.values()) == sorted([*receivers.values(), 'segmenter'])
    spans = [event for event in events if event['ph'] == 'X']
    batches = [span['args']['batch'] for span in spans if span['name'] == 'step']
    assert max(batches) > 1 if max_batch > 1 else set(batches) == {1}
    stages = defaultdict(dict)
    for span in spans:
        assert span['dur'] >= 0
        assert threads[span['tid']] == (
            receivers[span['args']['camera']] if span['name'] == 'receipt' else 'segmenter')
        stages[span['args']['camera'], span['args']['stamp']][span['name']] = span
    for name, answers in cameras.answers.items():
        for answer in answers:
            stamp = answer.header.stamp.sec * 10**9 + answer.header.stamp.nanosec
            of_image = stages[name, stamp]
            order = ['receipt', 'conversion', 'step', 'publication']
            assert sorted(of_image, key=lambda stage: of_image[stage]['ts']) == order
            said = of_image['publication']['args']
            assert (said['epoch'], said['sequence']) == (answer.epoch, answer.sequence)


def test_tracing_is_switched_while_the_node_runs(
    start: Callable[..., Cameras], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The images of that time are in the file, which the diagnostics name, and no others."""
    monkeypatch.setenv('ROS_LOG_DIR', str(tmp_path))
    cameras = start('switched')
    cameras.connect('front')
    for number in range(1, 4):
        assert cameras.node.set_parameters(trace=number == 2)[0].successful
        cameras.wait_until(
            lambda on=number == 2: (cameras.facts('front')['trace'] != 'off') == on, 'the switch')
        cameras.send({'front': frame(0, number)})
        if number == 2:
            assert Path(cameras.facts('front')['trace']).parent == tmp_path
    stamps = {event['args']['stamp'] for event in trace_of(tmp_path) if event['ph'] == 'X'}
    assert stamps == {200_000_000}


def test_what_one_camera_does_costs_the_others_nothing(start: Callable[..., Cameras]) -> None:
    """A bad image, a jump in time, silence, a switch and a reset concern their camera alone."""
    cameras = start('apart', '-p', 'max_batch:=4', '-p', 'batch_wait:=0.5')
    cameras.connect('front', 'left')
    for number in range(1, 3):
        cameras.send({name: image(100 * number) for name in ('front', 'left')})
    bad = image(300)
    bad.encoding = '32FC1'
    cameras.publishers['front'].publish(bad)
    cameras.send({'left': image(300)})
    cameras.send({name: image(400) for name in ('front', 'left')})
    assert [answer.frames_skipped for answer in cameras.answers['front'][-2:]] == [0, 1]
    assert [answer.sequence for answer in cameras.answers['left']] == [1, 2, 3, 4]

    before = {name: cameras.answers[name][-1].epoch for name in ('front', 'left')}
    cameras.send({'front': image(50), 'left': image(500)})
    assert cameras.answers['front'][-1].epoch == before['front'] + 1
    assert cameras.node.call(Trigger, 'left/reset', Trigger.Request()).success
    cameras.send({'front': image(150), 'left': image(600)})
    assert cameras.answers['front'][-1].epoch == before['front'] + 1
    assert cameras.answers['left'][-1].epoch == before['left'] + 1

    off = SetBool.Request(data=False)
    assert cameras.node.call(SetBool, 'left/set_enabled', off).success
    cameras.publishers['left'].publish(image(700))
    cameras.send({'front': image(250)})
    cameras.wait_until(lambda: cameras.facts('left').get('dropped: disabled') == '1', 'the drop')
    assert cameras.facts('left')['enabled'] == 'False'
    assert cameras.facts('front')['enabled'] == 'True'
    assert cameras.facts('front')['dropped: encoding'] == '1'
    assert 'dropped: encoding' not in cameras.facts('left')
    assert cameras.facts('right')['images received'] == '0'
    assert int(cameras.facts('left')['images processed']) >= 6
    for stage in ('conversion', 'step', 'publication'):
        p50, p95, p99 = map(
            float, cameras.facts('left')[f'time in {stage}, p50 / p95 / p99 [ms]'].split(' / '))
        assert 0 <= p50 <= p95 <= p99
    assert len(cameras.facts('left')['model sha256']) == 64


@pytest.mark.parametrize(('value', 'said'), [
    ('[front, "2nd"]', "'2nd' is no name"), ('[front, front]', 'a name comes twice'),
])
def test_wrong_names_are_refused_at_the_start(value: str, said: str) -> None:
    node = SegmenterProcess('misnamed', '-p', f'cameras:={value}')
    try:
        assert node.process.wait(60) == 1
        assert said in node.log()
        assert 'Traceback' not in node.log()
    finally:
        node.close()


def _camera_process(topic: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([
        sys.executable, '-m', 'stmask_ros.camera.node', '--ros-args',
        '-r', f'image_raw:={topic}', '-r', f'__node:=camera{topic.replace("/", "_")}',
        '-p', 'rate:=4.0', '-p', 'width:=160', '-p', 'height:=120',
    ], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_cameras_come_and_go(start: Callable[..., Cameras]) -> None:
    """Four camera nodes, each a process; one is killed, missed, and welcome again."""
    cameras = start('crowd', trusted=False)
    processes = {name: _camera_process(f'/crowd/{name}/image') for name in NAMES}
    try:
        cameras.wait_until(
            lambda: all(len(answers) >= 3 for answers in cameras.answers.values()),
            'answers of all four')
        processes['rear'].send_signal(signal.SIGKILL)
        processes['rear'].wait()
        # The last image may still wait for its turn when its camera is already missed.
        cameras.wait_until(
            lambda: 'no image for' in cameras.statuses['rear'].message
            and cameras.facts('rear')['images waiting or in work'] == '0',
            'a word about the silence')
        processed = cameras.facts('rear')['images processed']
        count = {name: len(cameras.answers[name]) for name in NAMES}
        cameras.wait_until(
            lambda: all(len(cameras.answers[name]) >= count[name] + 3 for name in NAMES[:3]),
            'more answers of the other three')
        assert cameras.facts('rear')['images processed'] == processed
        count = {name: len(cameras.answers[name]) for name in NAMES}
        processes['rear'] = _camera_process('/crowd/rear/image')
        cameras.wait_until(lambda: len(cameras.answers['rear']) > count['rear'], 'its return')
        # Of the first ones a pause may be the machine's, which starts four processes.
        for name, answers in cameras.answers.items():
            before = answers[count[name] - 3:count[name]]
            assert len({answer.epoch for answer in before}) == 1
            stamps = [(item.header.stamp.sec, item.header.stamp.nanosec) for item in answers]
            assert stamps == sorted(set(stamps))
    finally:
        for process in processes.values():
            process.send_signal(signal.SIGINT)
        for process in processes.values():
            process.wait(30)
