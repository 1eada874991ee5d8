# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Video: every packet's picture under its own header, and nothing wrong after a lost one."""

from __future__ import annotations

import numpy as np
import pytest
from video_streams import (
    ENCODERS,
    HEIGHT,
    WIDTH,
    ffmpeg_message,
    foxglove_message,
    packets,
    picture,
)

from stmask_ros.images import ImageError
from stmask_ros.images import packets as formats
from stmask_ros.images.video import VideoReader, _Pace

CODECS = sorted(ENCODERS)


def ffmpeg_reader():
    return VideoReader(formats.ffmpeg_packet, formats.header_of)


def foxglove_reader():
    return VideoReader(formats.foxglove_packet, formats.header_of)


def outcome(reader, message):
    """Return the stamp of the picture that a message gives, or the reason why there is none."""
    taken = reader.take(message)
    try:
        shown = reader.picture(taken)
    except ImageError as error:
        return error.reason
    number = taken.header.stamp.sec
    difference = np.abs(shown.pixels.astype(int) - picture(number)).mean()
    assert difference < 15, f'picture {number} is wrong by {difference}'
    return number


@pytest.mark.parametrize('codec', CODECS)
def test_each_packet_gives_its_picture_at_once(codec):
    reader = foxglove_reader()
    messages = [foxglove_message(data, n, codec) for n, data in enumerate(packets(codec))]
    assert [outcome(reader, message) for message in messages] == list(range(25))


@pytest.mark.parametrize('codec', CODECS)
def test_after_a_lost_packet_nothing_is_shown_until_a_key_frame(codec):
    """The number in the message tells; of Foxglove's, who receives them (see miss())."""
    sent = list(enumerate(packets(codec)))
    expected = [0, 1, 2, 3, 4, *['waits for a key frame'] * 4, *range(10, 25)]
    name = ENCODERS[codec][0]
    reader = ffmpeg_reader()
    messages = [ffmpeg_message(data, n, f'{name};yuv420p;bgr8;bgr8') for n, data in sent]
    assert [outcome(reader, m) for m in messages[:5] + messages[6:]] == expected
    reader = foxglove_reader()
    messages = [foxglove_message(data, n, codec) for n, data in sent]
    before = [outcome(reader, message) for message in messages[:5]]
    reader.miss()
    assert before + [outcome(reader, message) for message in messages[6:]] == expected


@pytest.mark.parametrize('codec', CODECS)
def test_a_stream_that_is_joined_late_begins_with_its_next_key_frame(codec):
    reader = ffmpeg_reader()
    outcomes = [outcome(reader, ffmpeg_message(data, n, codec))
                for n, data in enumerate(packets(codec)) if n > 3]
    assert outcomes == ['waits for a key frame'] * 6 + list(range(10, 25))


@pytest.mark.parametrize('codec', CODECS)
def test_broken_packets_cost_pictures_up_to_a_key_frame(codec):
    sent = list(packets(codec))
    sent[4] = sent[4][: len(sent[4]) // 2]
    sent[14] = b''
    reader = ffmpeg_reader()
    outcomes = [outcome_or_wrong(reader, ffmpeg_message(data, n, codec))
                for n, data in enumerate(sent)]
    assert outcomes[:4] == [0, 1, 2, 3]
    assert 'short data' in outcomes
    assert outcomes[20:] == [20, 21, 22, 23, 24]


def outcome_or_wrong(reader, message):
    """Return as outcome(); a packet that is cut off may give a picture that is whole in part."""
    try:
        return outcome(reader, message)
    except AssertionError:
        return 'wrong'


@pytest.mark.parametrize('codec', CODECS)
def test_the_size_changes_in_mid_stream(codec):
    reader = ffmpeg_reader()
    for data in packets(codec, 12):
        reader.take(ffmpeg_message(data, 0, codec))
    larger = [reader.take(ffmpeg_message(data, n, codec))
              for n, data in enumerate(packets(codec, 3, 2 * WIDTH, 2 * HEIGHT))]
    assert [reader.picture(taken).size for taken in larger] == [(2 * HEIGHT, 2 * WIDTH)] * 3


def test_another_codec_begins_in_mid_stream():
    reader = foxglove_reader()
    for codec in ('h264', 'hevc', 'h264'):
        assert [outcome(reader, foxglove_message(data, n, codec))
                for n, data in enumerate(packets(codec)[:3])] == [0, 1, 2]


def test_a_picture_is_converted_no_finer_than_it_is_seen():
    reader = foxglove_reader()
    taken = reader.take(foxglove_message(packets('h264')[0], 0, 'h264'))
    small = reader.picture(taken, lambda _size: (HEIGHT // 2, WIDTH // 2))
    assert (small.pixels.shape, small.size) == ((HEIGHT // 2, WIDTH // 2, 3), (HEIGHT, WIDTH))
    whole = reader.picture(taken).pixels
    averaged = whole.reshape(HEIGHT // 2, 2, WIDTH // 2, 2, 3).mean((1, 3))
    assert np.abs(small.pixels - averaged).mean() < 2


@pytest.mark.parametrize(('encoding', 'codec'), [
    ('libx264', 'h264'), ('h264_nvenc', 'h264'), ('hevc_vaapi;nv12;bgr8;bayer_rggb8', 'hevc'),
    ('libx265', 'hevc'), ('libsvtav1;yuv420p', 'av1'), ('h265', 'hevc'),
])
def test_names_of_encoders(encoding, codec):
    assert formats.codec_of(encoding) == codec


@pytest.mark.parametrize('encoding', ['', 'theora', 'mpeg4', 'x' * 300, '../h26', 'ffv1'])
def test_other_codecs_are_refused(encoding):
    assert outcome(ffmpeg_reader(), ffmpeg_message(b'123', 0, encoding)) == 'encoding'


def test_numbers_may_be_the_times_of_a_clock_that_trembles():
    reader = ffmpeg_reader()
    times = np.cumsum([0, *[33, 34] * 5])
    for time, data in zip(times.tolist(), packets('h264'), strict=False):
        message = ffmpeg_message(data, 0, 'h264')
        message.pts = time
        reader.picture(reader.take(message))


def test_a_burst_of_a_clock_is_soon_forgotten_and_a_count_never() -> None:
    clock, now, skipped = _Pace(), 0, []
    for frame in range(200):
        now += 2_000_000 if frame == 20 else 33_000_000 + 1_000_000 * (frame % 3)
        skipped.append(clock.skips(now))
    assert not any(skipped[:21])
    assert skipped[21]
    assert not any(skipped[60:])
    assert clock.skips(now + 67_000_000)
    count = _Pace()
    assert not any(count.skips(number) for number in (5, 6))
    assert all(count.skips(number) for number in range(8, 200, 2))
