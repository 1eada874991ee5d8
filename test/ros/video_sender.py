# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
A camera that sends video, in a process of its own: `video_sender.py KIND TOPIC CODEC`.

Each line of its input is the number of a picture, whose packet it then publishes, stamped with
that number [s]; "N broken" publishes its packet cut in half, "N random" noise in its place.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import rclpy
from builtin_interfaces.msg import Time
from rclpy.node import Node
from std_msgs.msg import Header

sys.path.append(str(Path(__file__).resolve().parents[1] / 'unit'))
from video_streams import HEIGHT, WIDTH, packets

NAMES = {'hevc': 'h265'}


def message_of(kind: str, codec: str, number: int, data: bytes) -> object:
    """Return the message of a packet."""
    stamp = Time(sec=number)
    if kind == 'ffmpeg':
        from ffmpeg_image_transport_msgs.msg import FFMPEGPacket
        return FFMPEGPacket(
            header=Header(stamp=stamp, frame_id='camera'), width=WIDTH, height=HEIGHT,
            encoding=f'{codec};yuv420p;bgr8;bgr8', pts=number, data=data)
    from foxglove_msgs.msg import CompressedVideo
    return CompressedVideo(
        timestamp=stamp, frame_id='camera', format=NAMES.get(codec, codec), data=data)


def main(kind: str, topic: str, codec: str) -> None:
    """Send what is asked for until the input ends."""
    sent = packets(codec, 45)
    rclpy.init()
    node = Node('video_sender')
    publisher = node.create_publisher(type(message_of(kind, codec, 0, b'')), topic, 100)
    for line in sys.stdin:
        number, _, fault = line.strip().partition(' ')
        data = sent[int(number)]
        if fault == 'broken':
            data = data[:len(data) // 2]
        elif fault == 'random':
            data = random.Random(number).randbytes(len(data))
        publisher.publish(message_of(kind, codec, int(number), data))
    node.destroy_node()
    rclpy.shutdown()


if __name__ == '__main__':
    main(*sys.argv[1:])
