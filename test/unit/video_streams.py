# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Video for the tests, made by PyAV, and the messages that carry it."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

av = pytest.importorskip('av', reason='PyAV is not installed: pip install av')

WIDTH, HEIGHT, GROUP = 160, 120, 10
# Encoders by codec, with what makes them answer each picture at once.
ENCODERS = {
    'h264': ('libx264', {'preset': 'ultrafast', 'tune': 'zerolatency'}),
    'hevc': ('libx265', {'preset': 'ultrafast', 'tune': 'zerolatency',
                         'x265-params': 'log-level=none'}),
    'av1': ('libsvtav1', {'preset': '11', 'crf': '15',
                          'svtav1-params': 'pred-struct=1:lookahead=0'}),
    'vp9': ('libvpx-vp9', {'deadline': 'realtime', 'cpu-used': '8', 'lag-in-frames': '0'}),
}


def picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Return picture `number`, BGR: a square moves over a ground that grows brighter twice."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    ground = np.stack([columns / width, rows / height, 1 - columns / width], 2) * 200
    pixels = (0.6 * ground + 40 * (number % 3)).astype(np.uint8)
    left = 10 * number % (width - 40)
    cv2.rectangle(pixels, (left, 30), (left + 40, 70), (250, 250, 20), cv2.FILLED)
    return pixels


@functools.cache
def packets(
    codec: str, count: int = 25, width: int = WIDTH, height: int = HEIGHT
) -> tuple[bytes, ...]:
    """Return one packet for each picture, a key frame every GROUP; skip without an encoder."""
    # SVT-AV1 gives its thread real-time priority where it may, and so all threads begun after.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_encoded, codec, count, width, height).result()


def _encoded(codec: str, count: int, width: int, height: int) -> tuple[bytes, ...]:
    name, options = ENCODERS[codec]
    try:
        encoder = av.CodecContext.create(name, 'w')
    except av.codec.codec.UnknownCodecError:
        pytest.skip(f'this PyAV has no {name} to make {codec} with')
    encoder.width, encoder.height, encoder.pix_fmt = width, height, 'yuv420p'
    encoder.time_base, encoder.framerate = Fraction(1, 30), 30
    encoder.gop_size, encoder.max_b_frames, encoder.options = GROUP, 0, options
    made = []
    for number in range(count):
        frame = av.VideoFrame.from_ndarray(picture(number, width, height), format='bgr24')
        frame.pts = number
        made += encoder.encode(frame)
    made += encoder.encode(None)
    assert [packet.pts for packet in made] == list(range(count))
    return tuple(bytes(packet) for packet in made)


def ffmpeg_message(data: bytes, number: int, encoding: str) -> SimpleNamespace:
    """Return the fields of an FFMPEGPacket, stamped with its number [s]."""
    header = SimpleNamespace(stamp=SimpleNamespace(sec=number, nanosec=0), frame_id='camera')
    return SimpleNamespace(
        header=header, width=WIDTH, height=HEIGHT, encoding=encoding, pts=number,
        flags=int(number % GROUP == 0), is_bigendian=False, data=np.frombuffer(data, np.uint8))


def foxglove_message(data: bytes, number: int, codec: str) -> SimpleNamespace:
    """Return the fields of a CompressedVideo, stamped with its number [s]."""
    return SimpleNamespace(
        timestamp=SimpleNamespace(sec=number, nanosec=0), frame_id='camera',
        data=np.frombuffer(data, np.uint8), format={'hevc': 'h265'}.get(codec, codec))
