# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What the demos share: nodes in processes of their own, and how they are listened to."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

_END_SECONDS = 10.0
_LOG_LINES = 40


class DemoError(Exception):
    """The demo cannot go on; the message says what happened and where to look."""


class HealthListener:
    """
    Keeps the last diagnostic report of a node.

    facts: of that report, and its `message`; empty before the first.
    """

    def __init__(self, node: Node, name: str = 'segmenter') -> None:
        """Listen with `node`; name: how the status ends."""
        self.facts: dict[str, str] = {}
        self._name = name
        self._subscription = node.create_subscription(
            DiagnosticArray, '/diagnostics', self._on_report, 10
        )

    def _on_report(self, array: DiagnosticArray) -> None:
        for status in array.status:
            if status.name.endswith(self._name):
                self.facts = {v.key: v.value for v in status.values}
                self.facts['message'] = status.message

    def forget(self) -> None:
        """Wait for a new report."""
        self.facts = {}

    @property
    def active(self) -> bool:
        """Whether the node is active."""
        return self.facts.get('state') == 'active'

    @property
    def idle(self) -> bool:
        """Whether the segmenter has no image left."""
        return self.facts.get('images waiting or in work') == '0'


def spin_until(
    node: Node, done: Callable[[], bool], running: subprocess.Popen[bytes], seconds: float,
    log: Path,
) -> None:
    """Spin until something is done; DemoError if the process ends, or after so many seconds."""
    deadline = time.monotonic() + seconds
    while not done():
        rclpy.spin_once(node, timeout_sec=0.1)
        check_running(running, log)
        if time.monotonic() > deadline:
            raise DemoError(f'{log.stem} does not come on; it said:\n{end_of(log)}')


def check_running(process: subprocess.Popen[bytes], log: Path) -> None:
    """Raise DemoError, with the end of its log, if a process has ended."""
    if process.poll() is not None:
        raise DemoError(f'{log.stem} ended with {process.returncode}:\n{end_of(log)}')


def end_of(log: Path) -> str:
    """Return the last lines of a log, which goes with the folder when a run fails."""
    return '\n'.join(log.read_text(errors='replace').splitlines()[-_LOG_LINES:])


@contextmanager
def running_process(arguments: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run Python with these arguments; end it with SIGINT, as Ctrl-C would."""
    with log.open('wb') as file:
        process = subprocess.Popen(
            [sys.executable, *arguments], stdout=file, stderr=subprocess.STDOUT
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
