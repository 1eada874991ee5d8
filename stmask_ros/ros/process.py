# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The process of a lifecycle node: from the command line to the exit code."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any, Protocol, cast

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.logging import get_logger
from rclpy.node import Node

from stmask_ros.memory import keep_freed_memory
from stmask_ros.ros.parameter_rules import ParameterError
from stmask_ros.ros.qos import TopicError
from stmask_ros.ros.transport import use_large_message_profile

RCLError = rclpy_implementation.RCLError

_WAITING = (
    'unconfigured: waits for a lifecycle manager, such as the launch files, to configure and '
    "activate it; the parameter 'autostart' does without one (a parameter file that comes later "
    'on the command line wins over -p autostart:=true)'
)
_EXIT_TIMEOUT = 0.5
_LONGEST_SLEEP = 0.5


class Startable(Protocol):
    """A lifecycle node that can do without a lifecycle manager."""

    @property
    def autostart(self) -> bool:
        """Whether to start it at once."""

    def start(self) -> bool:
        """Configure and activate; return whether that succeeded."""

    def stop(self, timeout: float) -> bool:
        """Work no more; return whether all work ended within `timeout` [s]."""

    def destroy_node(self) -> None:
        """Take the node off the network."""

    def get_logger(self) -> Any:
        """Return the node's logger."""


def run(
    name: str,
    make: Callable[[], Startable],
    arguments: list[str] | None,
    on_signals_handled: Callable[[], None],
) -> int:
    """
    Run a lifecycle node until it is told to stop.

    name: for the log before there is a node. make: returns the node, or raises ParameterError or
    TopicError.
    arguments: of the command line; those of this process if None.
    on_signals_handled: called as soon as ROS handles signals.
    Returns the exit code: 0 after a signal, 1 if ROS or the parameters did not let it start or an
    automatic start failed.
    """
    keep_freed_memory()
    transport = use_large_message_profile()
    try:
        rclpy.init(args=arguments)
    except RCLError as error:
        return _refuse(name, error)
    on_signals_handled()
    node: Startable | None = None
    try:
        node = make()
        node.get_logger().info(transport.text)
        if not node.autostart:
            node.get_logger().info(_WAITING)
        elif not node.start():
            return 1
        while rclpy.ok():
            _spin(node)
    except (ParameterError, TopicError) as error:
        return _refuse(name, error)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Exception as error:
        # A callback may find its publisher gone when a signal arrives: that is no failure.
        if rclpy.ok():
            if node is None and isinstance(error, RCLError):
                return _refuse(name, error)
            raise
    finally:
        _end(node)
    return 0


def _refuse(name: str, error: Exception) -> int:
    get_logger(name).fatal(f'cannot start:\n{error}')
    return 1


def _spin(node: Startable) -> None:
    """Handle callbacks; return when one failed in ROS itself, which costs its request alone."""
    executor = rclpy.get_global_executor()
    executor.add_node(cast(Node, node))
    try:
        # Now and then rclpy does not wake the executor for a signal: it must wake by itself.
        while rclpy.ok():
            executor.spin_once(timeout_sec=_LONGEST_SLEEP)
    except RCLError as error:
        # Jazzy raises when someone asks for a transition that the state does not have.
        if rclpy.ok():
            node.get_logger().error(f'a request failed: {error}')


def _end(node: Startable | None) -> None:
    """Leave in good order, without waiting for a step that may take seconds."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if node is not None:
        node.stop(_EXIT_TIMEOUT)
        node.destroy_node()
    rclpy.try_shutdown()
