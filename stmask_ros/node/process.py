"""The segmenter's process: from the command line to the exit code."""

from __future__ import annotations

import signal
from collections.abc import Callable

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.logging import get_logger

from stmask_ros.memory import keep_freed_memory
from stmask_ros.node.parameters import ParameterError
from stmask_ros.node.segmenter import SegmenterNode
from stmask_ros.ros.qos import TopicError
from stmask_ros.ros.transport import use_large_message_profile

RCLError = rclpy_implementation.RCLError

_EXIT_TIMEOUT = 0.5
_LONGEST_SLEEP = 0.5


def run(arguments: list[str] | None, on_signals_handled: Callable[[], None]) -> int:
    """
    Run a segmenter node until it is told to stop.

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
        return _refuse(error)
    on_signals_handled()
    node: SegmenterNode | None = None
    try:
        node = SegmenterNode()
        node.get_logger().info(transport.text)
        if node.settings.autostart and not node.start():
            return 1
        while rclpy.ok():
            _spin(node)
    except (ParameterError, TopicError) as error:
        return _refuse(error)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Exception as error:
        # A callback may find its publisher gone when a signal arrives: that is no failure.
        if rclpy.ok():
            if node is None and isinstance(error, RCLError):
                return _refuse(error)
            raise
    finally:
        _end(node)
    return 0


def _refuse(error: Exception) -> int:
    get_logger('segmenter').fatal(f'cannot start:\n{error}')
    return 1


def _spin(node: SegmenterNode) -> None:
    """Handle callbacks; return when one failed in ROS itself, which costs its request alone."""
    executor = rclpy.get_global_executor()
    executor.add_node(node)
    try:
        # Now and then rclpy does not wake the executor for a signal: it must wake by itself.
        while rclpy.ok():
            executor.spin_once(timeout_sec=_LONGEST_SLEEP)
    except RCLError as error:
        # Jazzy raises when someone asks for a transition that the state does not have.
        if rclpy.ok():
            node.get_logger().error(f'a request failed: {error}')


def _end(node: SegmenterNode | None) -> None:
    """Leave in good order, without waiting for a step that may take seconds."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if node is not None:
        node.stop(_EXIT_TIMEOUT)
        node.destroy_node()
    rclpy.try_shutdown()
