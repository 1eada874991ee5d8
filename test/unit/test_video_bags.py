# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Recorded video: replayed, played by the camera and chosen among topics as other images are."""

from __future__ import annotations

import numpy as np
import pytest
from video_streams import HEIGHT, WIDTH, packets, picture

from stmask_ros.bags.files import BagWriter, choose_image_topic
from stmask_ros.bags.image_reader import pictures
from stmask_ros.bags.types import COMPRESSED_VIDEO, FFMPEG_PACKET, message_types
from stmask_ros.images import ImageError
from stmask_ros.sources.bag import BagSource

TOPIC = '/camera/image/video'
KINDS = [FFMPEG_PACKET, COMPRESSED_VIDEO]


def _fields(kind, number, data):
    types = message_types().types
    stamp = types['builtin_interfaces/msg/Time'](sec=number, nanosec=0)
    pixels = np.frombuffer(data, np.uint8)
    if kind == COMPRESSED_VIDEO:
        return types[kind](timestamp=stamp, frame_id='left', data=pixels, format='h264')
    header = types['std_msgs/msg/Header'](stamp=stamp, frame_id='left')
    return types[kind](
        header=header, width=WIDTH, height=HEIGHT, encoding='libx264', pts=number, flags=0,
        is_bigendian=False, data=pixels)


def _bag(folder, kind, lost=(), more=b''):
    with BagWriter(folder) as writer:
        for number, data in enumerate(packets('h264')):
            if number not in lost:
                message = _fields(kind, number, data)
                cdr = bytes(message_types().serialize_cdr(message, kind))
                writer.write(TOPIC, kind, number * 10**9, cdr + more)
    return folder


def _wrong(shown, number):
    return np.abs(shown.astype(int) - picture(number)).mean()


@pytest.mark.parametrize('kind', KINDS)
def test_a_recorded_video_is_read_in_order(tmp_path, kind):
    bag = _bag(tmp_path / 'bag', kind)
    assert choose_image_topic(bag).topic == TOPIC
    shown = list(pictures(bag, TOPIC))
    assert len(shown) == 25
    assert max(_wrong(pixels, number) for number, pixels in enumerate(shown)) < 15


@pytest.mark.parametrize('kind', KINDS)
def test_the_camera_plays_it_with_its_stamps_whoever_looks(tmp_path, kind):
    """Every other frame is looked at; the packets between are decoded all the same."""
    frames = BagSource(_bag(tmp_path / 'bag', kind), '').frames()
    for number, frame in enumerate(frames):
        assert (frame.stamp(), frame.frame_id(), frame.compressed()) == ((number, 0), 'left', None)
        if number % 2:
            assert _wrong(frame.bgr(), number) < 15


def test_a_packet_that_was_not_recorded_shows_nothing_until_a_key_frame(tmp_path):
    for frame in BagSource(_bag(tmp_path / 'bag', FFMPEG_PACKET, lost=(4,)), '').frames():
        number, _ = frame.stamp()
        if 4 < number < 10:
            with pytest.raises(ImageError) as caught:
                frame.bgr()
            assert caught.value.reason == 'waits for a key frame'
        else:
            assert _wrong(frame.bgr(), number) < 15


def test_later_versions_with_more_fields_are_read(tmp_path):
    """Foxglove's message grows at its end."""
    bag = _bag(tmp_path / 'bag', COMPRESSED_VIDEO, more=bytes(range(40)))
    assert len(list(pictures(bag, TOPIC))) == 25
