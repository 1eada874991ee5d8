# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The camera node: publishes a camera, a video, pictures, a bag or the built-in clip."""

from __future__ import annotations

import sys
import time
from threading import Event, Thread

import rclpy
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.task import Future

from stmask_ros.camera.camera_info import CalibrationError
from stmask_ros.camera.parameters import (
    CameraParameterError,
    CameraParameters,
    declare_camera_parameters,
    described,
)
from stmask_ros.camera.schedule import Schedule
from stmask_ros.camera.topics import CameraTopics
from stmask_ros.images.raw import ImageError
from stmask_ros.ros import node_help
from stmask_ros.ros.qos import TopicError
from stmask_ros.ros.transport import use_large_message_profile
from stmask_ros.ros.unknown_parameters import warn_of_unknown_qualities
from stmask_ros.sources.opening import open_source
from stmask_ros.sources.source import Source, SourceError, SourceOptions

# Mistakes of the user that end the node at once, with one line.
_START_ERRORS = (
    CalibrationError,
    CameraParameterError,
    InvalidParameterTypeException,
    InvalidParameterValueException,
    SourceError,
    TopicError,
)

_RETRY_SECONDS = 1.0
_LONGEST_SLEEP = 0.5

# A publisher learns of a subscriber before the subscriber learns of the publisher; a frame that is
# sent in between is lost to it if it listens with best effort.
_MATCHING_SECONDS = 0.5

# What best-effort subscribers have not fetched yet goes down with this process.
_FAREWELL_SECONDS = 0.5


class CameraNode(Node):
    """
    Plays a source in a thread of its own.

    exit_code: done when there is no more to play; 0, or 1 if the source broke.
    """

    def __init__(self) -> None:
        """Open the source and start to play it; raises one of _START_ERRORS."""
        super().__init__('camera')
        self.exit_code: Future[int] = Future()
        self._settings = declare_camera_parameters(self)
        self._source = _open(self._settings)
        self._topics = CameraTopics(self, self._settings)
        warn_of_unknown_qualities(self)
        self._stop = Event()
        self._schedule = Schedule(self._settings.rate)
        self._thread = Thread(target=self._run, name='camera', daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the playing; safe to call at any time."""
        self._stop.set()
        self._thread.join(timeout=2.0)

    def _run(self) -> None:
        """Play to the end, and say how it went."""
        try:
            code = self._play()
            if not self._stop.is_set():
                self._topics.flush()
                self._stop.wait(_FAREWELL_SECONDS)
        except Exception as error:
            if self._stop.is_set() or not self.context.ok():
                return  # a shutdown has pulled the publishers away
            self.get_logger().fatal(f'the camera ends on an unexpected error: {error!r}')
            code = 1
        self.exit_code.set_result(code)

    def _play(self) -> int:
        """Play all passes and return the exit code."""
        if self._settings.wait_for_subscribers:
            self._wait_for_subscribers()
        self.get_logger().info(f'playing {self._source.name}')
        while not self._stop.is_set():
            try:
                self._play_once()
            except SourceError as error:
                self.get_logger().error(str(error), throttle_duration_sec=10.0)
                if not (self._source.live or self._settings.loop):
                    return 1
                self._stop.wait(_RETRY_SECONDS)
            if not (self._source.live or self._settings.loop):
                self.get_logger().info(f'end of {self._source.name}')
                break
            self._schedule.next_pass()
        return 0

    def _play_once(self) -> None:
        """Play one pass. Each frame is made ready ahead of time, then sent when it is due."""
        for frame in self._source.frames():
            try:
                outgoing = self._topics.prepare(frame)
            except ImageError as error:
                self.get_logger().error(
                    f'skipped a broken frame: {error}', throttle_duration_sec=5.0)
                continue
            if not self._source.live:
                self._stop.wait(self._schedule.delay(frame.offset_ns, time.monotonic_ns()))
                if self._schedule.skipped:
                    self.get_logger().warning(
                        f'the source pauses for {self._schedule.skipped:.1f} s here: the pause '
                        'is left out')
            if self._stop.is_set():
                return
            self._topics.publish(outgoing)

    def _wait_for_subscribers(self) -> None:
        wanted = self._settings.wait_for_subscribers
        self.get_logger().info(f'waiting for {wanted} subscriptions')
        while self._topics.subscriptions() < wanted:
            if self._stop.wait(0.05):
                return
        self._stop.wait(_MATCHING_SECONDS)


def _open(parameters: CameraParameters) -> Source:
    source = open_source(parameters.source, SourceOptions(
        parameters.bag_topic, parameters.rate, parameters.width, parameters.height))
    if parameters.stamps == 'source' and not source.has_stamps:
        raise CameraParameterError(
            f'stamps: {source.name} has no recorded stamps; only bags have: use stamps:=node')
    return source


def _spin(node: CameraNode) -> int:
    """Serve the node until it has nothing more to play; return the exit code."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        # Now and then rclpy does not wake the executor for a signal: it must wake by itself.
        while rclpy.ok() and not node.exit_code.done():
            executor.spin_until_future_complete(node.exit_code, timeout_sec=_LONGEST_SLEEP)
        return int(node.exit_code.result() or 0) if node.exit_code.done() else 0
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    finally:
        node.stop()
        executor.shutdown()
        node.destroy_node()


def main(arguments: list[str] | None = None) -> int:
    """Run the node; return 0 at the end of its source or at a signal, 1 if it cannot play."""
    if node_help.is_asked_for(arguments):
        node_help.show(
            'camera', 'Publish a camera, a video, pictures, a bag or a clip as a camera.',
            '-p source:=device:0 -r image_raw:=/camera/image_raw', described())
        return 0
    use_large_message_profile()
    rclpy.init(args=arguments)
    try:
        return _spin(CameraNode())
    except _START_ERRORS as error:
        get_logger('camera').fatal(str(error))
        return 1
    except KeyboardInterrupt:
        return 0
    except Exception:
        if rclpy.ok():
            raise
        return 0  # a signal came while the node was being set up
    finally:
        rclpy.try_shutdown()


if __name__ == '__main__':
    sys.exit(main())
