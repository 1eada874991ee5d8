# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A node in a process of its own, and the client that the tests drive it with."""

from __future__ import annotations

import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from typing_extensions import Self

DEADLINE = 120.0
LOST_ANSWER = 20.0
RELIABLE = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)


class NodeProcess:
    """
    A running node, its log, and a client beside it.

    status: the node's last diagnostic report; None before the first.
    """

    def __init__(
        self, name: str, command: Sequence[str], *arguments: str, **process: Any
    ) -> None:
        """
        Start the node under a name, with ROS arguments.

        command: what is started. process: other arguments of Popen.
        """
        self.name = name
        self._folder = tempfile.TemporaryDirectory(prefix=f'{name}-')
        self._log = Path(self._folder.name) / 'log'
        self.process = subprocess.Popen(
            [*command, '--ros-args', '-r', f'__node:={name}', '-p', 'diagnostics_period:=0.1',
             *arguments],
            **{'stdout': self._log.open('w'), 'stderr': subprocess.STDOUT} | process)
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.client = Node(f'{name}_client', context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.client)
        self.status: DiagnosticStatus | None = None
        self.client.create_subscription(
            DiagnosticArray, '/diagnostics', self._on_diagnostics, RELIABLE)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.startswith(f'/{self.name}:'):
                self.status = status

    def __enter__(self) -> Self:
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

    def state(self) -> int:
        """Return the lifecycle state's id."""
        return int(self.call(GetState, 'get_state', GetState.Request()).current_state.id)

    def last_facts(self) -> dict[str, str]:
        """Return the values of the last diagnostic report; nothing before the first."""
        return {} if self.status is None else {item.key: item.value for item in self.status.values}

    def facts(self) -> dict[str, str]:
        """Return the values of the next two diagnostic reports: none older than this call."""
        for _ in range(2):
            self.status = None
            self.spin_until(lambda: self.status is not None, 'a diagnostic report')
        return self.last_facts()
