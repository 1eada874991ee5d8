# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Segmenters in the process of somebody else: several, in any executor, destroyed at any time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import rclpy
from lifecycle_msgs.srv import GetState
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from segmenter_process import RELIABLE, UNTRAINED, image
from sensor_msgs.msg import Image

from stmask_ros.lifter.lifter import LifterNode
from stmask_ros.msg import TrackedInstanceArray
from stmask_ros.node.segmenter import SegmenterNode
from stmask_ros.srv import LoadModel
from stmask_ros.tracking.segmenter import VideoSegmenter

DEADLINE = 60.0
RCLError = rclpy_implementation.RCLError
SUCCESS = TransitionCallbackReturn.SUCCESS


def wait_until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f'not within {DEADLINE} s: {what}'
        time.sleep(0.02)


def is_refused(transition: Callable[[], TransitionCallbackReturn]) -> bool:
    """Say whether a transition is refused: Jazzy raises where newer distributions return that."""
    try:
        return transition() != SUCCESS
    except RCLError:
        return True


def options(context: Context) -> dict[str, Any]:
    parameters = {'model': str(UNTRAINED), 'device': 'cpu', 'diagnostics_period': 0.05,
                  'birth_threshold': 0.0}
    return {
        'context': context, 'use_global_arguments': False,
        'parameter_overrides': [Parameter(name, value=v) for name, v in parameters.items()],
    }


class House:
    """A process's nodes: a client, and segmenters, all spun by several threads."""

    def __init__(self) -> None:
        self.context = Context()
        rclpy.init(context=self.context)
        self.executor = MultiThreadedExecutor(4, context=self.context)
        self.client = Node('client', context=self.context)
        self.executor.add_node(self.client)
        self.failures: list[BaseException] = []
        self._thread = threading.Thread(target=self._spin)
        self._thread.start()

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):
            try:
                self.executor.spin()
            except ExternalShutdownException:
                raise
            except BaseException as error:
                self.failures.append(error)

    def segmenter(self, namespace: str) -> SegmenterNode:
        node = SegmenterNode(namespace=namespace, **options(self.context))
        self.executor.add_node(node)
        return node

    def close(self) -> None:
        # In this order: an executor that is shut down while it spins may find its pool of threads
        # gone, and raise.
        self.context.try_shutdown()
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()
        self.executor.shutdown()
        assert not self.failures, self.failures


@pytest.fixture
def house() -> Iterator[House]:
    house = House()
    yield house
    house.close()


class Line:
    """The images and the answers of a segmenter."""

    def __init__(self, house: House, namespace: str) -> None:
        self.answers: list[TrackedInstanceArray] = []
        self._images = house.client.create_publisher(Image, f'{namespace}/image', RELIABLE)
        self._subscription = house.client.create_subscription(
            TrackedInstanceArray, f'{namespace}/segmenter/instances', self.answers.append,
            RELIABLE)
        self._stamp = 0

    def send(self) -> None:
        self._stamp += 1
        self._images.publish(image(self._stamp))

    def wait_for_another_answer(self) -> None:
        before = len(self.answers)

        def answered() -> bool:
            self.send()
            return len(self.answers) > before

        wait_until(answered, 'an answer')

    def received_by_nobody(self) -> bool:
        return bool(self._images.get_subscription_count() == 0)


def threads_of_segmenters() -> list[str]:
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith(('segmenter', 'receiver'))]


def test_two_segmenters_and_one_is_destroyed(house: House) -> None:
    nodes = [house.segmenter(name) for name in ('/a', '/b')]
    lines = [Line(house, name) for name in ('/a', '/b')]
    for node, line in zip(nodes, lines, strict=True):
        assert node.start()
        line.wait_for_another_answer()
    lines[0].send()
    nodes[0].destroy_node()
    wait_until(lines[0].received_by_nobody, 'the end of the subscription')
    count = len(lines[0].answers)
    nodes[0].destroy_node()
    lines[0].send()
    lines[1].wait_for_another_answer()
    assert len(lines[0].answers) == count
    assert sorted(threads_of_segmenters()) == ['receiver /b/image', 'segmenter']
    nodes[1].destroy_node()
    assert not threads_of_segmenters()


@pytest.mark.parametrize('state', ['unconfigured', 'inactive', 'active', 'deactivated'])
def test_destroyed_in_every_state(house: House, state: str) -> None:
    node = house.segmenter('/a')
    if state != 'unconfigured':
        assert node.trigger_configure() == SUCCESS
    if state in ('active', 'deactivated'):
        assert node.trigger_activate() == SUCCESS
    if state == 'deactivated':
        assert node.trigger_deactivate() == SUCCESS
    node.destroy_node()
    node.destroy_node()
    assert not threads_of_segmenters()
    assert is_refused(node.trigger_configure)


def test_destroyed_while_it_configures(house: House) -> None:
    node = house.segmenter('/a')
    started = threading.Thread(target=node.start)
    started.start()
    time.sleep(0.05)
    node.destroy_node()
    started.join(DEADLINE)
    assert not started.is_alive()
    assert not threads_of_segmenters()


def test_destroyed_while_it_is_asked(house: House) -> None:
    node = house.segmenter('/a')
    client = house.client.create_client(GetState, '/a/segmenter/get_state')
    wait_until(client.service_is_ready, 'the service')
    for number in range(50):
        client.call_async(GetState.Request())
        if number == 25:
            node.destroy_node()
    time.sleep(0.2)
    house.client.destroy_client(client)


@contextmanager
def threads_that_cannot_start() -> Iterator[None]:
    """Ask for more stack than there is memory."""
    threading.stack_size(1 << 46)
    try:
        yield
    finally:
        threading.stack_size(0)


def test_a_worker_that_cannot_start() -> None:
    """The node says so, is inactive, and can be activated when there is room again."""
    context = Context()
    rclpy.init(context=context)
    node = SegmenterNode(namespace='/a', **options(context))
    assert node.trigger_configure() == SUCCESS
    with threads_that_cannot_start():
        assert node.trigger_activate() != SUCCESS
    assert node.life.state == 'inactive'
    assert "can't start new thread" in node.statuses()[0].message
    assert node.trigger_activate() == SUCCESS
    assert sorted(threads_of_segmenters()) == ['receiver /a/image', 'segmenter']
    node.destroy_node()
    assert not threads_of_segmenters()
    context.try_shutdown()


class HeldStepper:
    """A network whose first step goes on until it is let go; notes how many run at a time."""

    def __init__(self, segmenter: VideoSegmenter) -> None:
        self.begun, self.let_go = threading.Event(), threading.Event()
        self.running, self.most_at_a_time, self.finished = 0, 0, 0
        self._step = segmenter.stepper.step
        segmenter.stepper.step = self.step  # type: ignore[method-assign]

    def step(self, *arguments: Any) -> Any:
        self.running += 1
        self.most_at_a_time = max(self.most_at_a_time, self.running)
        self.begun.set()
        assert self.let_go.wait(DEADLINE)
        try:
            return self._step(*arguments)
        finally:
            self.running -= 1
            self.finished += 1


def test_a_step_that_outlasts_its_deactivation_shares_nothing_with_the_next_worker(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers live for a while, but their steps, which share buffers, follow one another."""
    monkeypatch.setattr('stmask_ros.node.segmenter._STEP_TIMEOUT', 0.2)
    node, line = house.segmenter('/a'), Line(house, '/a')
    assert node.start()
    line.wait_for_another_answer()
    assert node._segmenter is not None
    counts = node._mailboxes.boxes[0].counts
    held = HeldStepper(node._segmenter)
    line.send()
    assert held.begun.wait(DEADLINE)
    assert node.trigger_deactivate() == SUCCESS
    assert node.trigger_activate() == SUCCESS
    assert threads_of_segmenters().count('segmenter') == 2
    answered = counts().processed
    wait_until(lambda: len(line.answers) == answered, 'what was answered before')
    epoch = line.answers[-1].epoch

    line.send()
    wait_until(lambda: counts().in_flight == 2, 'both images in work')
    time.sleep(0.2)
    assert held.running == 1
    assert counts().processed == answered
    held.let_go.set()
    line.wait_for_another_answer()
    assert held.most_at_a_time == 1
    assert {answer.epoch for answer in line.answers[answered:]} == {epoch + 1}
    assert counts().dropped['deactivated'] >= 1
    wait_until(lambda: threads_of_segmenters().count('segmenter') == 1, 'the first worker ends')
    node.destroy_node()


@pytest.mark.parametrize('state', ['unconfigured', 'inactive', 'active'])
def test_a_lifter_destroyed_in_every_state(house: House, state: str) -> None:
    node = LifterNode(
        namespace='/a', context=house.context, use_global_arguments=False,
        parameter_overrides=[Parameter('diagnostics_period', value=0.05)],
    )
    house.executor.add_node(node)
    if state != 'unconfigured':
        assert node.trigger_configure() == SUCCESS
    if state == 'active':
        assert node.trigger_activate() == SUCCESS
    node.destroy_node()
    node.destroy_node()
    assert 'lifter' not in {thread.name for thread in threading.enumerate()}
    assert is_refused(node.trigger_configure)


def test_a_model_whose_thread_cannot_start_keeps_no_other_out(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = house.segmenter('/loading')
    assert node.start()
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == 'model loader':
            raise RuntimeError("can't start new thread")
        start(thread)

    answers: list[LoadModel.Response] = []
    for patched in (refuse, start):
        monkeypatch.setattr(threading.Thread, 'start', patched)
        node._model_swap._on_request(LoadModel.Request(model=str(UNTRAINED)), answers.append)
    wait_until(lambda: len(answers) == 2, 'both answers')
    assert [answer.success for answer in answers] == [False, True]
    assert "can't start new thread" in answers[0].message
