# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
One end of a stream of images, as a process of its own; for test_transport.py.

    image_traffic.py send raw|compressed WIDTH HEIGHT COUNT [default]
    image_traffic.py receive raw|compressed [default]     writes how many arrived

The receiver says on the topic `ready` that it hears the sender; only then the counted frames
begin. So discovery costs no frame, and every missing one was lost on the way. With `default`
Fast DDS is left at its default settings.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import cv2
import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Empty

from stmask_ros.ros.transport import use_large_message_profile
from stmask_ros.sources.built_in_clip import BuiltInClip

RATE = 30.0
DEADLINE = 60.0

# Sensor-data QoS, but for the depth: a receiver that the machine does not run for a moment finds
# its frames still there, and what is missing was lost by the transport.
QUALITY = QoSProfile(depth=30, reliability=ReliabilityPolicy.BEST_EFFORT)
assert QUALITY.durability == qos_profile_sensor_data.durability


def spin_until(node: Node, condition: Callable[[], bool], what: str) -> None:
    """Serve callbacks until the condition holds; raise TimeoutError if it never does."""
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(what)
        rclpy.spin_once(node, timeout_sec=0.05)


def raw(width: int, height: int) -> Image:
    message = Image(width=width, height=height, step=3 * width, encoding='bgr8')
    message.data.frombytes(picture(width, height).tobytes())
    return message


def compressed(width: int, height: int) -> CompressedImage:
    message = CompressedImage(format='bgr8; jpeg compressed bgr8')
    message.data.frombytes(cv2.imencode('.jpg', picture(width, height))[1].tobytes())
    return message


def picture(width: int, height: int) -> np.ndarray:
    return cv2.resize(BuiltInClip().frame(0.0), (width, height))


KINDS = {'raw': (Image, raw), 'compressed': (CompressedImage, compressed)}


class Sender:
    """Sends greetings until it is heard, then the frames, then says that it is done."""

    def __init__(self, kind: str) -> None:
        self.node = Node('sender')
        message_type, self.image = KINDS[kind]
        self.publisher = self.node.create_publisher(message_type, 'image', QUALITY)
        self.heard = False
        self.node.create_subscription(Empty, 'ready', self.on_ready, 1)

    def on_ready(self, _: Empty) -> None:
        self.heard = True

    def run(self, width: int, height: int, count: int) -> None:
        self.repeat('greeting', lambda: self.heard)
        frame = self.image(width, height)
        frame.header.frame_id = 'frame'
        start = time.monotonic()
        for number in range(count):
            time.sleep(max(0.0, start + number / RATE - time.monotonic()))
            self.publisher.publish(frame)
        self.repeat('end', lambda: self.publisher.get_subscription_count() == 0)

    def repeat(self, frame_id: str, until: Callable[[], bool]) -> None:
        message = self.image(8, 8)
        message.header.frame_id = frame_id
        timer = self.node.create_timer(0.1, lambda: self.publisher.publish(message))
        spin_until(self.node, until, f'sent {frame_id} and was not answered')
        self.node.destroy_timer(timer)


class Receiver:
    """Counts the frames between the first greeting and the end."""

    def __init__(self, kind: str) -> None:
        self.node = Node('receiver')
        self.ready = self.node.create_publisher(Empty, 'ready', 1)
        self.counts = {'greeting': 0, 'frame': 0, 'end': 0}
        self.node.create_subscription(KINDS[kind][0], 'image', self.on_image, QUALITY)

    def on_image(self, message: Image | CompressedImage) -> None:
        frame_id = message.header.frame_id
        self.counts[frame_id] += 1
        if frame_id == 'greeting':
            self.ready.publish(Empty())
        if frame_id == 'frame' and isinstance(message, Image):
            assert np.frombuffer(message.data, np.uint8).size == message.step * message.height

    def run(self) -> None:
        spin_until(self.node, lambda: self.counts['end'] > 0, 'heard no end')
        sys.stdout.write(f'{self.counts["frame"]}\n')


def main(role: str, kind: str, *arguments: str) -> None:
    if 'default' not in arguments:
        use_large_message_profile()
    rclpy.init()
    try:
        if role == 'send':
            width, height, count = map(int, arguments[:3])
            Sender(kind).run(width, height, count)
        else:
            Receiver(kind).run()
    finally:
        rclpy.try_shutdown()


if __name__ == '__main__':
    main(*sys.argv[1:])
