# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Broken video: it costs pictures up to the next key frame, and never the node."""

from __future__ import annotations

import numpy as np
from video_camera import video_camera, video_cameras
from video_streams import ENCODERS, ffmpeg_message, packets, picture

from stmask_ros.images import ImageError
from stmask_ros.images import packets as formats
from stmask_ros.images.video import VideoReader


def test_noise_and_halves_of_packets_in_a_running_video() -> None:
    """What is shown is right, and two key frames later everything is answered again."""
    packets('h264', 45)
    with video_camera('video_faults', 'ffmpeg', 'h264') as camera:
        camera.send(10)
        camera.send(11, 'random')
        camera.send(12, 'broken')
        for number in (20, 21, 22):
            camera.send(number)
        camera.segmenter.spin_until(lambda: 22 in camera.overlays, 'a picture after the faults')
        for number in (10, 20, 21, 22):
            if number in camera.overlays:
                shown = camera.overlays[number].astype(int)
                assert np.abs(shown - picture(number)).mean() < 15
        counts = camera.segmenter.counts()
        assert counts.received == counts.processed + counts.dropped()
        assert 'Traceback' not in camera.segmenter.log()


def test_damage_to_one_of_two_cameras_is_its_own() -> None:
    """A packet of one is lost: it waits for its key frame, and the other shows every picture."""
    packets('h264', 45)
    name = 'two_videos'
    arguments = ['-p', 'cameras:=[left,right]']
    for camera in ('left', 'right'):
        arguments += ['-r', f'{camera}/image:=/{name}/{camera}']
    with video_cameras(name, 'ffmpeg', 'h264', ['left', 'right'], *arguments) as (left, right):
        for number in (10, 11, 12, 13, 14, 20):
            if number != 12:
                left.publish(number)
            right.publish(number)
            left.segmenter.spin_until(
                lambda number=number: number in right.overlays, f'picture {number} of the other')
        left.segmenter.spin_until(lambda: 20 in left.overlays, 'the next key frame')
        assert not {12, 13, 14} & set(left.overlays)
        for number, shown in (left.overlays | right.overlays).items():
            assert np.abs(shown.astype(int) - picture(number)).mean() < 15


def test_random_video_raises_nothing_but_refusals() -> None:
    """Changed bytes, cut ends, other codecs' packets: only ImageError comes out."""
    generator = np.random.default_rng(31)
    for codec in ENCODERS:
        reader = VideoReader(formats.ffmpeg_packet, formats.header_of)
        for number, data in enumerate(packets(codec) * 4):
            spoilt = np.frombuffer(data, np.uint8).copy()
            places = generator.integers(0, spoilt.size, 8)
            spoilt[places] = generator.integers(0, 256, 8)
            end = int(generator.integers(0, spoilt.size + 1)) if number % 3 == 0 else spoilt.size
            names = [codec, codec, codec, str(generator.choice(list(ENCODERS)))]
            name = names[int(generator.integers(0, 4))]
            taken = reader.take(ffmpeg_message(spoilt[:end].tobytes(), number, name))
            try:
                shown = reader.picture(taken)
                assert shown.pixels.dtype == np.uint8
            except ImageError as error:
                assert 10 < len(str(error)) < 400  # noqa: PT017
