# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Video over DDS: each packet's own picture, and none that a lost packet has spoilt."""

from __future__ import annotations

import array
import gzip
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from segmenter_process import RELIABLE, UNTRAINED, SegmenterProcess, image
from sensor_msgs.msg import CompressedImage, Image
from video_camera import video_camera

sys.path.append(str(Path(__file__).resolve().parents[1] / 'unit'))
from video_streams import packets, picture


@pytest.mark.parametrize(('kind', 'codec'), [
    ('ffmpeg', 'h264'), ('foxglove', 'hevc'), ('foxglove', 'av1'), ('ffmpeg', 'vp9'),
])
def test_video_is_answered_and_a_gap_waits_for_a_key_frame(kind: str, codec: str) -> None:
    """Ten pictures are shown; what follows a gap is counted until the next key frame."""
    packets(codec, 45)  # skips here where there is no encoder
    with video_camera(f'video_{codec}', kind, codec) as camera:
        for number in range(10, 15):
            camera.send(number)
        camera.segmenter.set_enabled(False)
        camera.send(15)
        camera.segmenter.set_enabled(True)
        before = camera.segmenter.counts()
        for number in range(16, 23):
            camera.send(number)
        after = camera.segmenter.counts()
        waited = ['waits for a key frame']
        assert after.dropped(waited) - before.dropped(waited) == 4
        camera.segmenter.spin_until(lambda: 22 in camera.overlays, 'the last picture')
        for number, shown in camera.overlays.items():
            difference = np.abs(shown.astype(int) - picture(number)).mean()
            assert difference < 15, f'picture {number} is wrong by {difference}'
        assert not {15, 16, 17, 18, 19} & set(camera.overlays)
        assert {10, 14, 20, 22} <= set(camera.overlays)


def test_packed_images_are_answered_and_bombs_refused() -> None:
    """The transport zstd: a picture as gzip, then one that unpacks to far more than its size."""
    name = 'packed'
    with SegmenterProcess(
        name, '-p', f'model:={UNTRAINED}', '-p', 'image_transport:=zstd', '-p', 'autostart:=true',
    ) as segmenter:
        segmenter.jpegs = segmenter.client.create_publisher(
            CompressedImage, f'/{name}/camera/zstd', RELIABLE)
        segmenter.warm_up(lambda stamp: _packed(image(stamp)))
        assert segmenter.answer(_packed(image(1000))).header.stamp.sec == 1
        before = segmenter.counts()
        bomb = image(2000)
        bomb.data = array.array('B', bytes(50_000_000))
        segmenter.jpegs.publish(_packed(bomb))
        segmenter.wait_for_drop('size', before)
        assert segmenter.answer(_packed(image(3000))).header.stamp.sec == 3


def _packed(raw: Image) -> CompressedImage:
    start = struct.pack('<IIBII', raw.height, raw.width, 0, raw.step, len(raw.encoding))
    data = start + raw.encoding.encode() + gzip.compress(bytes(raw.data), 1)
    return CompressedImage(header=raw.header, format='zstd', data=data)


@pytest.mark.parametrize(('kind', 'package'), [
    ('ffmpeg', 'ffmpeg_image_transport_msgs'), ('foxglove', 'foxglove_msgs'),
])
def test_a_missing_message_package_is_named_with_the_command(kind: str, package: str) -> None:
    try:
        __import__(package)
        pytest.skip(f'{package} is installed')
    except ImportError:
        pass
    with SegmenterProcess(
        f'without_{kind}', '-p', f'model:={UNTRAINED}', '-p', f'image_transport:={kind}',
    ) as segmenter:
        assert segmenter.process.wait(60) == 1
        assert f'needs the message package {package}: sudo apt install' in segmenter.log()
        assert 'Traceback' not in segmenter.log()
