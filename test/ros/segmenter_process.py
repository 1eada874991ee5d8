"""A segmenter in a process of its own, and the client that the tests drive it with."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import SetBool, Trigger

from stmask_ros.msg import TrackedInstanceArray

HEIGHT, WIDTH = 120, 160
DEADLINE = 120.0
LOST_ANSWER = 20.0
COMMAND = (sys.executable, '-m', 'stmask_ros.node.segmenter_node')
UNTRAINED = Path(__file__).with_name('untrained.yaml')
RELIABLE = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


def picture(shift: int = 0) -> np.ndarray:
    """Return a BGR picture of smooth colours, panned by some pixels."""
    rows, columns = np.mgrid[0:HEIGHT, shift:shift + WIDTH].astype(np.float32)
    waves = [np.sin(columns / 9) * np.cos(rows / 11), np.sin(columns / 17 + rows / 13),
             np.cos(columns / 23) * np.sin(rows / 7)]
    return np.stack([(wave * 100 + 128).astype(np.uint8) for wave in waves], axis=2)


def image(stamp_ms: int, frame_id: str = 'camera', shift: int = 0) -> Image:
    """Return a good image; stamp_ms: its stamp [ms], 0 for none."""
    message = Image(height=HEIGHT, width=WIDTH, encoding='bgr8', step=WIDTH * 3)
    message.header.frame_id = frame_id
    message.header.stamp.sec, rest = divmod(stamp_ms, 1000)
    message.header.stamp.nanosec = rest * 1_000_000
    message.data.frombytes(picture(shift).tobytes())
    return message


class Counts:
    """What became of the images, as read from the diagnostics."""

    def __init__(self, facts: dict[str, str]) -> None:
        """Read the facts of a report."""
        self.received = int(facts['images received'])
        self.processed = int(facts['images processed'])
        self._dropped = {
            key.removeprefix('dropped: '): int(value)
            for key, value in facts.items() if key.startswith('dropped: ')
        }

    def dropped(self, reasons: Sequence[str] | None = None) -> int:
        """Return how many were dropped for these reasons, or for any."""
        chosen = self._dropped if reasons is None else reasons
        return sum(self._dropped.get(reason, 0) for reason in chosen)


class SegmenterProcess:
    """A running node, its log, and everything it publishes."""

    def __init__(
        self, name: str, *arguments: str, command: Sequence[str] = COMMAND, **process: Any
    ) -> None:
        """
        Start the node under a name, with ROS arguments, and connect a client to it.

        Its tracker's rules are the library's, unless the arguments say otherwise.

        command: what is started. process: other arguments of Popen.
        """
        self.name = name
        self._folder = tempfile.TemporaryDirectory(prefix=f'{name}-')
        self._log = Path(self._folder.name) / 'log'
        self.process = subprocess.Popen(
            [*command, '--ros-args',
             '-r', f'__node:={name}', '-r', f'image:=/{name}/camera',
             '-p', 'diagnostics_period:=0.1', '-p', 'birth_threshold:=0.0',
             '-p', 'nms_threshold:=0.5', *arguments],
            **{'stdout': self._log.open('w'), 'stderr': subprocess.STDOUT} | process,
        )
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.client = Node(f'{name}_client', context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.client)
        self.outputs: list[TrackedInstanceArray] = []
        self.status: DiagnosticStatus | None = None
        self.images = self.client.create_publisher(Image, f'/{name}/camera', RELIABLE)
        self.jpegs = self.client.create_publisher(
            CompressedImage, f'/{name}/camera/compressed', RELIABLE)
        self.client.create_subscription(
            TrackedInstanceArray, f'/{name}/instances', self.outputs.append, RELIABLE)
        self.client.create_subscription(
            DiagnosticArray, '/diagnostics', self._on_diagnostics, RELIABLE)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.startswith(f'/{self.name}:'):
                self.status = status

    def __enter__(self) -> SegmenterProcess:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process, if it still runs, and the client; a second time it does nothing."""
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

    def spin_until(
        self, condition: Callable[[], bool], what: str, deadline: float = DEADLINE
    ) -> None:
        """Handle messages until a condition holds, or fail with the node's log."""
        end = time.monotonic() + deadline
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f'not within {deadline} s: {what}\n{self.log()}')
            if self.process.poll() not in (None, 0):
                raise AssertionError(f'the node died waiting for: {what}\n{self.log()}')
            self.executor.spin_once(timeout_sec=0.05)

    def wait_for_log(self, text: str) -> None:
        """Wait until the node has written a text."""
        self.spin_until(lambda: text in self.log(), f'{text!r} in the log')

    def call(self, kind: Any, service: str, request: Any) -> Any:
        """
        Call one of the node's services and return the response.

        A server may answer before it has discovered who listens, and then the answer is lost:
        without one for a while, the request is sent again.
        """
        client = self.client.create_client(kind, f'/{self.name}/{service}')
        self.spin_until(client.service_is_ready, f'service {service}')
        for _ in range(int(DEADLINE / LOST_ANSWER)):
            future = client.call_async(request)
            end = time.monotonic() + LOST_ANSWER
            self.spin_until(
                lambda future=future, end=end: future.done() or time.monotonic() > end, service)
            if future.done():
                self.client.destroy_client(client)
                return future.result()
        raise AssertionError(f'no answer of {service}\n{self.log()}')

    def change_state(self, transition: int) -> bool:
        """Ask for a transition and return whether it succeeded, be it at a lost first request."""
        before = self.state()
        request = ChangeState.Request(transition=Transition(id=transition))
        return bool(self.call(ChangeState, 'change_state', request).success) or (
            self.state() != before)

    def send_impossible_transition(self, transition: int) -> None:
        """Ask for a transition that is refused, and wait for the log: Jazzy sends no answer."""
        client = self.client.create_client(ChangeState, f'/{self.name}/change_state')
        self.spin_until(client.service_is_ready, 'service change_state')
        client.call_async(ChangeState.Request(transition=Transition(id=transition)))
        self.wait_for_log(f'No transition matching {transition} found')

    def state(self) -> int:
        """Return the lifecycle state's id."""
        return int(self.call(GetState, 'get_state', GetState.Request()).current_state.id)

    def activate(self) -> None:
        """Configure and activate, and wait for the connection of the images."""
        assert self.change_state(Transition.TRANSITION_CONFIGURE), self.log()
        assert self.change_state(Transition.TRANSITION_ACTIVATE), self.log()
        assert self.state() == State.PRIMARY_STATE_ACTIVE
        self.warm_up(image)

    def warm_up(self, message_at: Callable[[int], Image | CompressedImage]) -> None:
        """
        Send images until one is answered, then start a new epoch.

        Each end of a connection finds the other in its own time, and what is sent before both
        have is lost. message_at: returns an image with a stamp [ms].
        """
        self.wait_for_connection()
        for stamp in itertools.count(1):
            message = message_at(stamp)
            publisher = self.images if isinstance(message, Image) else self.jpegs
            publisher.publish(message)
            end = time.monotonic() + 1.0
            self.spin_until(
                lambda end=end: bool(self.outputs) or time.monotonic() > end, 'the first answer')
            if self.outputs:
                break
            assert stamp < DEADLINE, self.log()
        self.counts()
        self.outputs.clear()
        self.reset()

    def wait_for_connection(self) -> None:
        """Wait until images and instances are connected."""
        self.spin_until(
            lambda: self.images.get_subscription_count() + self.jpegs.get_subscription_count() > 0
            and self.client.count_publishers(f'/{self.name}/instances') > 0,
            'the connection')

    def reset(self) -> None:
        """Start a new epoch."""
        assert self.call(Trigger, 'reset', Trigger.Request()).success

    def set_enabled(self, enabled: bool) -> None:
        """Switch the answering of images on or off."""
        assert self.call(SetBool, 'set_enabled', SetBool.Request(data=enabled)).success

    def set_parameters(self, **values: Any) -> list[Any]:
        """Set parameters and return one result each."""
        request = SetParameters.Request(parameters=[
            Parameter(name, value=value).to_parameter_msg() for name, value in values.items()])
        return list(self.call(SetParameters, 'set_parameters', request).results)

    def parameter(self, name: str) -> Any:
        """Return a parameter's value message."""
        request = GetParameters.Request(names=[name])
        return self.call(GetParameters, 'get_parameters', request).values[0]

    def answer(self, message: Image | CompressedImage) -> TrackedInstanceArray:
        """Send an image and return the message that answers it."""
        before = len(self.outputs)
        publisher = self.images if isinstance(message, Image) else self.jpegs
        publisher.publish(message)
        self.spin_until(lambda: len(self.outputs) > before, 'an answer')
        assert len(self.outputs) == before + 1
        return self.outputs[-1]

    def answer_to(self, message: Image) -> TrackedInstanceArray:
        """
        Send an image, again if it was lost, and return its answer.

        Answers to images sent before may come first; a second copy is dropped for its stamp.
        """
        for _ in range(int(DEADLINE)):
            self.images.publish(message)
            end = time.monotonic() + 1.0
            self.spin_until(
                lambda end=end: time.monotonic() > end or self._is_answered(message), 'an answer')
            if self._is_answered(message):
                return self.outputs[-1]
        raise AssertionError(f'no answer\n{self.log()}')

    def _is_answered(self, message: Image) -> bool:
        return bool(self.outputs) and self.outputs[-1].header == message.header

    def play(self, seconds: float) -> None:
        """Send an image every 20 ms for some time; the stamps are 1 ms, 2 ms, ..."""
        end = time.monotonic() + seconds
        for stamp in itertools.count(1):
            if time.monotonic() > end:
                break
            self.images.publish(image(stamp))
            self.executor.spin_once(timeout_sec=0.02)

    def facts(self) -> dict[str, str]:
        """Return the values of the next two diagnostic reports: none older than this call."""
        for _ in range(2):
            self.status = None
            self.spin_until(lambda: self.status is not None, 'a diagnostic report')
        assert self.status is not None
        return {item.key: item.value for item in self.status.values}

    def counts(self) -> Counts:
        """Return the node's counts once no image waits or is in work."""
        while True:
            facts = self.facts()
            if facts['images waiting or in work'] == '0':
                return Counts(facts)

    def wait_for_drop(self, reason: str, before: Counts, number: int = 1) -> None:
        """Wait until so many more images were dropped, and check that none was otherwise."""
        while (after := self.counts()).received < before.received + number:
            pass
        assert after.received == before.received + number
        assert after.dropped([reason]) == before.dropped([reason]) + number, self.log()


def every_image(topic: str) -> tuple[str, ...]:
    """Return arguments for a reliable, deep subscription: then counts can be checked exactly."""
    overrides = f'qos_overrides.{topic}.subscription'
    return '-p', f'{overrides}.reliability:=reliable', '-p', f'{overrides}.depth:=200'
