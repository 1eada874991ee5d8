# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A thread that waits for one subscription or service alone, beside rclpy's executors."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.guard_condition import GuardCondition
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.service import Service
from rclpy.subscription import Subscription

_PAUSE_AFTER_ERROR = 0.001
_STOP_TIMEOUT = 1.0


class WaitingThread:
    """Takes what comes from start() until stop()."""

    def __init__(
        self, node: Node, entity: Subscription[Any] | Service[Any, Any],
        take: Callable[[], None], name: str, what: str,
    ) -> None:
        """
        Prepare.

        entity: in a callback group of its own, Unspun. take: takes one message or request if there
        is one; called in the thread. What it raises costs that one, and is logged. name: of the
        thread. what: is taken, for that log, such as 'a message on /image'.
        """
        self._node = node
        self._entity = entity
        self._take = take
        self._what = what
        self._stopping = Event()
        self._wake = GuardCondition(None, None, node.context)
        self._thread = Thread(target=self._run, name=name, daemon=True)

    @property
    def is_stopping(self) -> bool:
        """Whether stop() was called."""
        return self._stopping.is_set()

    def start(self) -> None:
        """Begin; raises RuntimeError if there can be no further thread."""
        try:
            self._thread.start()
        except RuntimeError:
            self._wake.destroy()
            raise

    def stop(self) -> None:
        """Take nothing any more, and wait for what is being taken, but not for ever."""
        self._stopping.set()
        self._wake.trigger()
        self._thread.join(_STOP_TIMEOUT)
        self._wake.destroy()

    def _run(self) -> None:
        # Both stay in being until this thread lets go of them, whoever destroys them meanwhile.
        with self._entity.handle, self._wake.handle:
            context = self._node.context
            assert context.handle is not None
            services = int(isinstance(self._entity, Service))
            wait_set = rclpy_implementation.WaitSet(
                1 - services, 1, 0, 0, services, 0, context.handle)
            while not self._stopping.is_set() and context.ok():
                self._wait_and_take(wait_set)

    def _wait_and_take(self, wait_set: rclpy_implementation.WaitSet) -> None:
        try:
            wait_set.clear_entities()
            if isinstance(self._entity, Service):
                wait_set.add_service(self._entity.handle)
            else:
                wait_set.add_subscription(self._entity.handle)
            wait_set.add_guard_condition(self._wake.handle)
            wait_set.wait(-1)
            self._take()
        except Exception as error:  # one that cannot be read must not cost the next
            if not self._stopping.wait(_PAUSE_AFTER_ERROR) and self._node.context.ok():
                self._node.get_logger().error(
                    f'{self._what} was lost: {error}', throttle_duration_sec=10.0)


class Unspun(CallbackGroup):
    """Keeps executors away from what belongs to it."""

    def can_execute(self, entity: Any) -> bool:
        """Never let one of them run."""
        return False

    def beginning_execution(self, entity: Any) -> bool:
        """Never begin with one."""
        return False

    def ending_execution(self, entity: Any) -> None:
        """Have nothing to end."""
