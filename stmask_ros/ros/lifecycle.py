# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The states of a lifecycle node, and its end, which any thread may bring about in any of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Protocol

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.lifecycle import (
    LifecycleNode,
    LifecycleState,
    ManagedEntity,
    TransitionCallbackReturn,
)
from rclpy.qos import QoSProfile

from stmask_ros.ros.destruction import take_off_the_network
from stmask_ros.ros.parameter_rules import ParameterError
from stmask_ros.ros.qos import TopicError, make_publisher

_SUCCESS = TransitionCallbackReturn.SUCCESS
_FAILURE = TransitionCallbackReturn.FAILURE


class Work(Protocol):
    """What a node does in its states."""

    def prepare(self) -> None:
        """Get what is needed and advertise the topics; raises if one of them is impossible."""

    def begin(self) -> None:
        """Begin to work; raises if that is impossible."""

    def stop(self, timeout: float) -> bool:
        """Work no more; return whether all work ended within `timeout` [s]."""

    def free(self) -> None:
        """Take the topics back and free everything."""


class Lifecycle(ManagedEntity):
    """
    Takes a node through its states: configure prepares, activate begins, and so on back.

    in_use: a lock, held while a transition, a report or the destruction is under way.
    destroyed: for ever. failure: why the last transition failed, or empty.
    at_end: closed when the node is destroyed, before it leaves the network.
    """

    def __init__(
        self, node: LifecycleNode, work: Work, stop_timeout: float,
        explained: tuple[type[Exception], ...] = (),
    ) -> None:
        """
        Follow the transitions of a node.

        stop_timeout: how long work may take to end [s]. explained: exceptions whose text alone
        says what is wrong, beside TopicError and ParameterError.
        """
        # Who destroys the node in one thread waits for what another one does with it.
        self.in_use = threading.RLock()
        self.destroyed = False
        self.failure = ''
        self.at_end = ExitStack()
        self._node = node
        self._work = work
        self._stop_timeout = stop_timeout
        self._explained: tuple[type[Exception], ...] = (TopicError, ParameterError, *explained)
        node.add_managed_entity(self)

    @property
    def state(self) -> str:
        """The name of the state, such as 'active'."""
        return str(self._node._state_machine.current_state[1])

    def report_every(
        self, seconds: float, statuses: Callable[[], Sequence[DiagnosticStatus]]
    ) -> None:
        """Publish statuses on /diagnostics again and again; TopicError if that is impossible."""
        publisher = make_publisher(
            self._node, DiagnosticArray, '/diagnostics', QoSProfile(depth=1))

        def report() -> None:
            with self.in_use:
                if not self.destroyed:
                    message = DiagnosticArray(status=list(statuses()))
                    message.header.stamp = self._node.get_clock().now().to_msg()
                    publisher.publish(message)

        # Reports go on while simulated time stands still.
        self._node.create_timer(seconds, report, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def start(self) -> bool:
        """Configure and activate without a lifecycle manager; return whether that succeeded."""
        return (self._node.trigger_configure() == _SUCCESS
                and self._node.trigger_activate() == _SUCCESS)

    def destroy(self, leave: Callable[[], None]) -> None:
        """
        Stop, free everything and take the node off the network; a second time it does nothing.

        leave: destroys the node as rclpy does.
        """
        with self.in_use:
            if self.destroyed:
                return
            self.destroyed = True
            self._stop()
            self._work.free()
            self.at_end.close()
            take_off_the_network(self._node, leave)

    # What rclpy calls at each transition.

    def on_configure(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Prepare; FAILURE if something is impossible."""
        return self._attempt(self._work.prepare, self._work.free, 'not configured')

    def on_activate(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Begin; FAILURE if that is impossible."""
        return self._attempt(self._work.begin, self._stop, 'not activated')

    def on_deactivate(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Stop; what is in work is dropped."""
        return self._go_back(self._stop)

    def on_cleanup(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything."""
        return self._go_back(self._work.free)

    def on_shutdown(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free everything, from any state."""
        return self._go_back(self._stop, self._work.free)

    def on_error(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Return to unconfigured after a transition that failed halfway."""
        returned = self._go_back(self._stop, self._work.free)
        self.failure = 'a transition failed halfway, see the log: configure the node again'
        return returned

    def _stop(self) -> None:
        self._work.stop(self._stop_timeout)

    def _attempt(
        self, step: Callable[[], None], undo: Callable[[], None], negation: str
    ) -> TransitionCallbackReturn:
        with self.in_use:
            if self.destroyed:
                return _FAILURE
            try:
                step()
            except Exception as error:
                undo()
                known = isinstance(error, self._explained)
                reason = str(error) if known else f'{type(error).__name__}: {error}'
                self.failure = f'{negation}: {reason}'
                self._node.get_logger().error(self.failure)
                return _FAILURE
            self.failure = ''
            return _SUCCESS

    def _go_back(self, *steps: Callable[[], None]) -> TransitionCallbackReturn:
        with self.in_use:
            if self.destroyed:
                return _FAILURE
            for step in steps:
                step()
            self.failure = ''
            return _SUCCESS
