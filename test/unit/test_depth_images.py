# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Depth images of every kind, and what is said of broken ones."""

from __future__ import annotations

import numpy as np
import pytest
from depth_messages import compressed_depth_message, depth_message

from stmask_ros.lifting.compressed_depth import read_compressed_depth
from stmask_ros.lifting.depth import read_depth
from stmask_ros.lifting.errors import LiftingError


def random_depth(kind: type, seed: int = 0) -> np.ndarray:
    """Return depth with smooth parts, edges and holes; 37x23, in the unit of its dtype."""
    random = np.random.default_rng(seed)
    metres = 2 + np.linspace(0, 1, 37) + (np.arange(23)[:, None] > 9) * 3.0
    metres[random.random(metres.shape) < 0.3] = 0
    if kind is np.uint16:
        return (metres * 1000).astype(np.uint16)
    metres[3, 4], metres[5, 6], metres[7, 8] = np.nan, np.inf, -1
    return metres.astype(np.float32)


def in_metres(depth: np.ndarray) -> np.ndarray:
    if depth.dtype == np.uint16:
        return depth * 1e-3
    return np.where(np.isfinite(depth) & (depth > 0), depth, 0)


@pytest.mark.parametrize('kind', [np.uint16, np.float32])
@pytest.mark.parametrize('big_endian', [False, True])
@pytest.mark.parametrize('padding', [0, 3])
def test_raw_depth_is_read(kind, big_endian, padding):
    depth = random_depth(kind)
    read = read_depth(depth_message(depth, padding, big_endian))
    np.testing.assert_allclose(read.metres(), in_metres(depth), rtol=1e-6)
    chosen = np.array([0, 7, 400])
    np.testing.assert_allclose(read.metres(chosen), in_metres(depth).ravel()[chosen], rtol=1e-6)


@pytest.mark.parametrize('kind', ['png', 'rvl'])
def test_compressed_millimetres_are_lossless(kind):
    depth = random_depth(np.uint16)
    read = read_compressed_depth(compressed_depth_message(depth, kind))
    np.testing.assert_array_equal(read.pixels, depth)


@pytest.mark.parametrize('kind', ['png', 'rvl'])
def test_compressed_metres_come_back_from_their_inverse(kind):
    depth = random_depth(np.float32)
    read = read_compressed_depth(compressed_depth_message(depth, kind)).metres()
    np.testing.assert_allclose(read, in_metres(depth), atol=5e-3)
    assert read[3, 4] == read[5, 6] == read[7, 8] == 0


def test_the_format_of_older_distributions_is_png():
    depth = random_depth(np.uint16)
    message = compressed_depth_message(depth, 'png')
    message.format = '16UC1; compressedDepth'
    np.testing.assert_array_equal(read_compressed_depth(message).pixels, depth)


@pytest.mark.parametrize(('changes', 'reason', 'text'), [
    ({'encoding': 'bgr8'}, 'depth encoding', 'expected 16UC1'),
    ({'width': 0}, 'depth size', '0x23'),
    ({'height': 1 << 20, 'width': 1 << 20, 'step': 1 << 21}, 'depth size', 'expected 1 to'),
    ({'step': 5}, 'depth step', 'takes 74'),
    ({'data': b'123'}, 'short depth data', 'has 3 bytes'),
])
def test_a_broken_depth_image_is_named(changes, reason, text):
    message = depth_message(random_depth(np.uint16))
    vars(message).update(changes)
    with pytest.raises(LiftingError, match=text) as caught:
        read_depth(message)
    assert caught.value.reason == reason


@pytest.mark.parametrize('kind', ['png', 'rvl'])
def test_cut_off_and_damaged_compressed_depth_is_named(kind):
    whole = compressed_depth_message(random_depth(np.uint16), kind)
    random = np.random.default_rng(1)
    refused = 0
    for length in [0, 5, 12, 15, 20, 25, len(whole.data) // 2, len(whole.data) - 40]:
        damaged = compressed_depth_message(random_depth(np.uint16), kind)
        damaged.data = whole.data[:length]
        with pytest.raises(LiftingError):
            read_compressed_depth(damaged)
    for _ in range(100):
        data = bytearray(whole.data)
        data[int(random.integers(12, len(data)))] ^= int(random.integers(1, 256))
        damaged.data = bytes(data)
        try:
            assert read_compressed_depth(damaged).pixels.dtype == np.uint16
        except LiftingError:
            refused += 1
    assert refused > 5


def test_pixels_without_some_are_invalid_in_their_own_encoding():
    excluded = np.zeros((23, 37), bool)
    excluded[2:5, 3:9] = True
    for kind in (np.uint16, np.float32):
        depth = read_depth(depth_message(random_depth(kind)))
        rest = depth.without(excluded)
        assert np.all(rest.metres()[excluded] == 0)
        np.testing.assert_array_equal(rest.metres()[~excluded], depth.metres()[~excluded])
        assert rest.pixels.dtype == depth.pixels.dtype
    assert np.isnan(rest.pixels[excluded]).all()
