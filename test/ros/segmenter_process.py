# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A segmenter in a process of its own, and the client that the tests drive it with."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState
from node_process import DEADLINE, RELIABLE, NodeProcess
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import SetBool, Trigger

from stmask_ros.msg import TrackedInstanceArray

HEIGHT, WIDTH = 120, 160
COMMAND = (sys.executable, '-m', 'stmask_ros.node.segmenter_node')
UNTRAINED = Path(__file__).with_name('untrained.yaml')
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


class SegmenterProcess(NodeProcess):
    """A running segmenter, and everything it publishes."""

    def __init__(
        self, name: str, *arguments: str, command: Sequence[str] = COMMAND, **process: Any
    ) -> None:
        """
        Start the node under a name, with ROS arguments, and connect a client to it.

        Its tracker's rules are the library's, unless the arguments say otherwise.

        command: what is started. process: other arguments of Popen.
        """
        super().__init__(
            name, command, '-r', f'image:=/{name}/camera', '-p', 'birth_threshold:=0.0',
            '-p', 'nms_threshold:=0.5', *arguments, **process)
        self.outputs: list[TrackedInstanceArray] = []
        self.images = self.client.create_publisher(Image, f'/{name}/camera', RELIABLE)
        self.jpegs = self.client.create_publisher(
            CompressedImage, f'/{name}/camera/compressed', RELIABLE)
        self.client.create_subscription(
            TrackedInstanceArray, f'/{name}/instances', self.outputs.append, RELIABLE)

    def send_impossible_transition(self, transition: int) -> None:
        """Ask for a transition that is refused, and wait for the log: Jazzy sends no answer."""
        client = self.client.create_client(ChangeState, f'/{self.name}/change_state')
        self.spin_until(client.service_is_ready, 'service change_state')
        client.call_async(ChangeState.Request(transition=Transition(id=transition)))
        self.wait_for_log(f'No transition matching {transition} found')

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
        self.outputs.clear()  # of an earlier life
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

    def refusal(self, **values: Any) -> str:
        """Set parameters; return why they were refused, or nothing."""
        return ''.join(result.reason for result in self.set_parameters(**values))

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
