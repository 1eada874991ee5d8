# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Images of zstd_image_transport: gzip, zlib and Zstandard, and no more than was promised."""

from __future__ import annotations

import gzip
import struct
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
import zstandard

from stmask_ros.images import ImageError, compressed_picture, has_colour

PICTURE = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)


def message(stream: bytes, encoding=b'bgr8', height=6, width=8, step=24, length=None):
    start = struct.pack(
        '<IIBII', height, width, 0, step, len(encoding) if length is None else length)
    data = np.frombuffer(start + encoding + stream, np.uint8)
    return SimpleNamespace(format='zstd', data=data)


def refusal(bad) -> str:
    with pytest.raises(ImageError) as caught:
        compressed_picture(bad)
    assert 10 < len(str(caught.value)) < 500
    return caught.value.reason


@pytest.mark.parametrize('pack', [gzip.compress, zlib.compress, zstandard.compress])
def test_the_raw_image_comes_back(pack):
    packed = message(pack(PICTURE.tobytes()))
    np.testing.assert_array_equal(compressed_picture(packed).pixels, PICTURE)
    assert has_colour(packed, compressed=True)
    grey = message(pack(bytes(range(48))), b'mono8', step=8)
    assert compressed_picture(grey).pixels[5, 7].tolist() == [47] * 3
    assert not has_colour(grey, compressed=True)


@pytest.mark.parametrize('pack', [gzip.compress, zlib.compress, zstandard.compress])
def test_a_stream_that_is_broken_or_cut_off(pack):
    stream = pack(PICTURE.tobytes())
    assert refusal(message(stream[:-5])) == 'broken data'
    assert refusal(message(stream[:2] + bytes(40))) == 'broken data'
    assert refusal(message(pack(bytes(10)))) == 'short data'


@pytest.mark.parametrize('pack', [gzip.compress, zlib.compress, zstandard.compress])
def test_a_bomb_is_unpacked_no_further_than_its_size(pack):
    assert refusal(message(pack(bytes(50_000_000)))) == 'size'


@pytest.mark.parametrize(('fields', 'reason'), [
    ({'height': 2**32 - 1, 'width': 2**32 - 1}, 'size'), ({'height': 0}, 'size'),
    ({'length': 2**31}, 'short data'), ({'encoding': b'32FC1'}, 'encoding'), ({'step': 5}, 'size'),
    ({'encoding': b'\xff\xfe'}, 'encoding'),
])
def test_a_header_that_makes_no_sense(fields, reason):
    assert refusal(message(gzip.compress(PICTURE.tobytes()), **fields)) == reason


def test_data_without_a_whole_header():
    whole = message(gzip.compress(PICTURE.tobytes())).data
    for size in (0, 1, 16, 17, 20, 21):
        cut = SimpleNamespace(format='zstd', data=whole[:size])
        assert refusal(cut) == 'short data', size
