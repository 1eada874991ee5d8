# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What a camera sends in benchmarks: a picture of the built-in clip, by each transport."""

from __future__ import annotations

import gzip
import struct
import time
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from std_msgs.msg import Header

from stmask_ros.images.raw import Bgr
from stmask_ros.ros.image_messages import compressed_from_bgr, compressed_from_bytes, from_bgr
from stmask_ros.ros.image_transports import image_transport
from stmask_ros.ros.messages import time_message
from stmask_ros.sources.built_in_clip import BuiltInClip

# Pictures of a video, the first a key frame.
GROUP = 30


def camera_messages(width: int, height: int, transport: str) -> list[Any]:
    """Return the messages that a camera sends over and over: one, or a video's packets."""
    picture = np.asarray(cv2.resize(BuiltInClip().frame(0.0), (width, height)), np.uint8)
    header = Header(frame_id='camera')
    if transport == 'raw':
        return [from_bgr(picture, header)]
    if transport == 'compressed':
        return [compressed_from_bgr(picture, header)]
    if transport == 'zstd':
        head = struct.pack('<IIBII', height, width, 0, 3 * width, 4) + b'bgr8'
        return [compressed_from_bytes(head + gzip.compress(picture.tobytes(), 3), header, 'zstd')]
    kind = image_transport(transport).kind
    packets = _h264(picture)
    if transport == 'ffmpeg':
        return [kind(header=header, encoding='h264', data=data) for data in packets]
    return [kind(frame_id='camera', format='h264', data=data) for data in packets]


def stamped(message: Any, number: int) -> Any:
    """Return a message with the time of now, and its number where it has one."""
    stamp = time_message(time.time_ns())
    if hasattr(message, 'header'):
        message.header.stamp = stamp
    else:
        message.timestamp = stamp
    if hasattr(message, 'pts'):
        message.pts = number
    return message


def _h264(picture: Bgr) -> list[bytes]:
    """Return a packet for each of GROUP pictures, of which each is moved a little."""
    import av
    encoder = av.CodecContext.create('libx264', 'w')
    encoder.height, encoder.width = picture.shape[:2]
    encoder.pix_fmt, encoder.time_base, encoder.gop_size = 'yuv420p', Fraction(1, 30), GROUP
    encoder.options = {'tune': 'zerolatency', 'preset': 'ultrafast'}
    packets = []
    for number in range(GROUP):
        moved = np.ascontiguousarray(np.roll(picture, 3 * number, 1))
        frame = av.VideoFrame.from_ndarray(moved, format='bgr24')
        frame.pts = number
        packets += encoder.encode(frame)
    return [bytes(packet) for packet in packets]
