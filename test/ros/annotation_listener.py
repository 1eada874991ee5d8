# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Prints how many outlines and names the first ImageAnnotations with some has: `... TOPIC`."""

from __future__ import annotations

import sys

import rclpy
from foxglove_msgs.msg import ImageAnnotations, PointsAnnotation
from rclpy.node import Node


def main(topic: str) -> None:
    """Listen until a message has names."""
    rclpy.init()
    node = Node('annotation_listener')
    received: list[ImageAnnotations] = []
    node.create_subscription(ImageAnnotations, topic, received.append, 10)
    while not any(len(message.texts) for message in received):
        rclpy.spin_once(node, timeout_sec=0.5)
    message = received[-1]
    assert all(line.type == PointsAnnotation.LINE_LOOP for line in message.points)
    sys.stdout.write(f'{len(message.points)} {len(message.texts)}\n')
    node.destroy_node()
    rclpy.shutdown()


if __name__ == '__main__':
    main(*sys.argv[1:])
