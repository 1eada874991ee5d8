# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Where one camera's images are looked at: by the parameters, and by a latched ignore mask."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import Image

from stmask_ros.families.frames import Size
from stmask_ros.node.parameters import Parameters
from stmask_ros.ros.qos import make_subscription
from stmask_ros.ros.throttle import LogThrottle
from stmask_ros.tracking.look import IgnoreMask
from stmask_ros.tracking.view import View

_ENCODINGS = ('mono8', '8UC1')


class CameraLook:
    """Answers where to look in the images of a camera."""

    def __init__(self, node: Node, name: str, prefix: str) -> None:
        """Look by the parameters alone; name: of the camera. prefix: of its topics."""
        self._node = node
        self._name = name
        self._topic = f'~/{prefix}ignore_mask'
        self._log = LogThrottle(node.get_logger())
        self._mask: IgnoreMask | None = None
        self._subscription: Subscription[Any] | None = None
        self._last: tuple[Parameters, IgnoreMask | None, View] | None = None

    def connect(self) -> None:
        """Receive the camera's ignore mask from now on; raises TopicError."""
        profile = QoSProfile(
            depth=1, reliability=ReliabilityPolicy.RELIABLE,
            durability=DurabilityPolicy.TRANSIENT_LOCAL,
        )
        self._subscription = make_subscription(
            self._node, Image, self._topic, self._on_mask, profile,
            self._node.default_callback_group,
        )

    def disconnect(self) -> None:
        """Receive none any more, and forget the last one."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
        self._subscription = self._mask = None

    def at(self, parameters: Parameters, size: Size) -> View:
        """
        Return where to look in an image of this size.

        Raises RegionError if the region is outside, ValueError if a mask's file is gone.
        """
        mask, last = self._mask, self._last
        if last is not None and last[0] is parameters and last[1] is mask and last[2].size == size:
            return last[2]
        look = parameters.look(self._name)
        if mask is not None:
            look = replace(look, ignored=(*look.ignored, mask))
        view = look.at(size)
        self._last = parameters, mask, view
        return view

    def _on_mask(self, message: Image) -> None:
        try:
            self._mask = ignore_mask(message)
        except ValueError as error:
            self._log.error('ignore mask', f'{self._topic}: the message is not used: {error}')


def ignore_mask(message: Image) -> IgnoreMask:
    """Return the mask of a message: pixels that are not 0; ValueError if it is none."""
    if message.encoding not in _ENCODINGS:
        raise ValueError(f"expected encoding mono8, got '{message.encoding}'")
    height, width, step = message.height, message.width, message.step
    if step < width or len(message.data) != height * step:
        raise ValueError(
            f'expected {height} rows of {step} bytes for {width}x{height} pixels, got '
            f'{len(message.data)} bytes'
        )
    rows = np.frombuffer(message.data, np.uint8).reshape(height, step)
    return IgnoreMask(rows[:, :width] != 0)
