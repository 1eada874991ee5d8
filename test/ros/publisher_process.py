# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A publisher in a process of its own: within a participant a topic has one type."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

PROGRAM = """
import sys
import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage

rclpy.init()
node = Node('other')
publisher = node.create_publisher(CompressedImage, sys.argv[1], QoSProfile(depth=1))
rclpy.spin(node)
"""


@contextmanager
def publisher_on(topic: str) -> Iterator[None]:
    """Offer compressed images on a topic; none are sent."""
    with subprocess.Popen([sys.executable, '-c', PROGRAM, topic]) as process:
        try:
            yield
        finally:
            # By a signal that is not handled: rclpy may miss one that comes before it spins.
            process.kill()
