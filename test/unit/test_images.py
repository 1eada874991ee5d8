# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Raw images: every encoding against its formula, written out here pixel by pixel."""

from types import SimpleNamespace

import numpy as np
import pytest
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from stmask_ros.images import ImageError, to_bgr
from stmask_ros.images.raw import demosaic, eight_bits, raw_has_colour
from stmask_ros.ros.image_messages import fill, from_bgr

COLOUR = {
    'bgr8': 'bgr', 'rgb8': 'rgb', 'bgra8': 'bgra', 'rgba8': 'rgba', 'mono8': 'g', '8UC1': 'g',
    '8UC3': 'bgr', '8UC4': 'bgra', 'bgr16': 'bgr', 'rgb16': 'rgb', 'bgra16': 'bgra',
    'rgba16': 'rgba', 'mono16': 'g', '16UC3': 'bgr', '16UC4': 'bgra',
}
BAYER = [f'bayer_{name}{bits}' for name in ('rggb', 'bggr', 'gbrg', 'grbg') for bits in (8, 16)]
REFUSED = [
    '8UC2', '8SC1', '8SC3', '16UC1', '16UC2', '16SC1', '16SC3', '32SC1', '32SC3', '32FC1',
    '32FC3', '32FC4', '64FC1', '64FC3', 'BGR8', 'yuv420', '', 'jpeg',
]


def message(encoding, rows, height, width, big_endian=False, padding=0):
    """rows: uint8 [n, row bytes]; the last row goes without its padding."""
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=171).tobytes()
    result = Image(height=height, width=width, encoding=encoding, is_bigendian=int(big_endian),
                   step=rows.shape[1] + padding)
    fill(result, padded[:len(padded) - padding])
    return result


def random_values(encoding, shape, big_endian):
    """Return values and their bytes, [height, row bytes]."""
    generator = np.random.default_rng(7)
    if '16' not in encoding:
        values = generator.integers(0, 256, shape, np.uint8)
        return values, values.reshape(shape[0], -1)
    values = generator.integers(0, 65536, shape, np.uint16)
    stored = np.ascontiguousarray(values.astype('>u2' if big_endian else '<u2'))
    return values, stored.view(np.uint8).reshape(shape[0], -1)


def to_eight_bits(values):
    if values.dtype == np.uint8:
        return values
    return np.floor(values.astype(float) * 255 / 65535 + 0.5).astype(np.uint8)


@pytest.mark.parametrize('padding', [0, 1, 6])
@pytest.mark.parametrize('big_endian', [False, True])
@pytest.mark.parametrize('encoding', COLOUR)
def test_colour_and_mono(encoding, big_endian, padding):
    order = COLOUR[encoding]
    values, rows = random_values(encoding, (5, 7, len(order)), big_endian)
    eight = to_eight_bits(values)
    expected = np.stack([eight[..., order.find(c if len(order) > 1 else 'g')] for c in 'bgr'], -1)
    picture = to_bgr(message(encoding, rows, 5, 7, big_endian, padding))
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, expected)


def bilinear(mosaic, pattern):
    """Return [h - 2, w - 2, 3] BGR: each colour is its own value, or its neighbours' mean."""
    height, width = mosaic.shape
    sites = np.array([[pattern[2 * (y % 2) + x % 2] for x in range(width)] for y in range(height)])
    result = np.zeros((height - 2, width - 2, 3))
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            for channel, colour in enumerate('bgr'):
                block = mosaic[y - 1:y + 2, x - 1:x + 2].astype(float)
                near = block[sites[y - 1:y + 2, x - 1:x + 2] == colour]
                own = sites[y, x] == colour
                result[y - 1, x - 1, channel] = mosaic[y, x] if own else near.mean()
    return result


@pytest.mark.parametrize('big_endian', [False, True])
@pytest.mark.parametrize('encoding', BAYER)
def test_bayer(encoding, big_endian):
    values, rows = random_values(encoding, (7, 9), big_endian)
    picture = to_bgr(message(encoding, rows, 7, 9, big_endian, padding=3))
    expected = bilinear(values, encoding[6:10]) / (257 if '16' in encoding else 1)
    assert np.abs(picture[1:-1, 1:-1] - expected).max() <= 1


def bt601(y, u, v):
    """Return BGR of values in 0..255, Y from 16 to 235."""
    y, u, v = 1.164 * (np.maximum(y, 16.0) - 16), u - 128.0, v - 128.0
    bgr = np.stack([y + 2.018 * u, y - 0.391 * u - 0.813 * v, y + 1.596 * v], -1)
    return np.clip(bgr, 0, 255)


@pytest.mark.parametrize('padding', [0, 5])
@pytest.mark.parametrize(('encoding', 'order'), [
    ('uyvy', 'uyvY'), ('yuv422', 'uyvY'), ('yuyv', 'yuYv'), ('yuv422_yuy2', 'yuYv')])
def test_yuv_in_pairs(encoding, order, padding):
    rows = np.random.default_rng(1).integers(0, 256, (5, 12), np.uint8)
    part = {name: rows[:, place::4] for place, name in enumerate(order)}
    luma = np.stack([part['y'], part['Y']], -1).reshape(5, 6)
    expected = bt601(luma, part['u'].repeat(2, 1), part['v'].repeat(2, 1))
    picture = to_bgr(message(encoding, rows, 5, 6, padding=padding))
    assert np.abs(picture - expected).max() <= 1.5


@pytest.mark.parametrize('padding', [0, 3])
@pytest.mark.parametrize(('encoding', 'first'), [('nv12', 'u'), ('nv21', 'v')])
def test_yuv_at_half_size(encoding, first, padding):
    rows = np.random.default_rng(2).integers(0, 256, (4 + 2, 6), np.uint8)
    pairs = rows[4:].reshape(2, 3, 2).repeat(2, 0).repeat(2, 1)
    u, v = (pairs[..., 0], pairs[..., 1])[::1 if first == 'u' else -1]
    picture = to_bgr(message(encoding, rows, 4, 6, padding=padding))
    assert np.abs(picture - bt601(rows[:4], u, v)).max() <= 1.5


def test_yuv_at_full_size():
    rows = np.random.default_rng(3).integers(0, 256, (3 + 2 * 3, 5), np.uint8)
    pairs = rows[3:].reshape(3, 5, 2)
    picture = to_bgr(message('nv24', rows, 3, 5))
    assert np.abs(picture - bt601(rows[:3], pairs[..., 0], pairs[..., 1])).max() <= 1.5


def planes(encoding, rows, padding):
    """rows: those of Y, and of U and V; the last goes without its padding."""
    padded = [np.pad(row, (0, padding * row.size // 6)) for row in rows[:-1]]
    return SimpleNamespace(
        height=4, width=6, encoding=encoding, is_bigendian=0, step=6 + padding,
        data=np.concatenate([*padded, rows[-1]]))


@pytest.mark.parametrize(('encoding', 'colour'), [
    ('nv12', (2, 6)), ('nv21', (2, 6)), ('nv24', (4, 12))])
def test_planes_need_every_byte(encoding, colour):
    random = np.random.default_rng(6)
    rows = [*random.integers(0, 256, (4, 6), np.uint8), *random.integers(0, 256, colour, np.uint8)]
    padded = planes(encoding, rows, 3)
    np.testing.assert_array_equal(to_bgr(padded), to_bgr(planes(encoding, rows, 0)))
    needed = padded.data.size
    padded.data = padded.data[:-1]
    with pytest.raises(ImageError, match=f'has {needed - 1} bytes .* needs {needed}$'):
        to_bgr(padded)


def test_black_is_black_and_not_darker():
    rows = np.full((3, 4), 128, np.uint8)
    rows[0] = 0, 15, 16, 17
    assert to_bgr(message('nv24', rows, 1, 4)).tolist() == [[[0] * 3] * 3 + [[1] * 3]]


def test_bgr_is_not_copied_and_round_trips():
    picture = np.random.default_rng(4).integers(0, 256, (6, 8, 3), np.uint8)
    sent = from_bgr(picture[:, ::-1][:, ::-1], Header(frame_id='eye'))
    received = to_bgr(sent)
    np.testing.assert_array_equal(received, picture)
    assert np.shares_memory(received, np.frombuffer(sent.data, np.uint8))
    assert sent.header.frame_id == 'eye'


def test_messages_of_rosbags_are_taken():
    picture = np.random.default_rng(5).integers(0, 256, (4, 4, 3), np.uint8)
    data = picture.reshape(-1).copy()
    data.flags.writeable = False
    recorded = SimpleNamespace(
        height=4, width=4, encoding='rgb8', is_bigendian=0, step=12, data=data)
    np.testing.assert_array_equal(to_bgr(recorded), picture[..., ::-1])


@pytest.mark.parametrize('encoding', REFUSED)
def test_what_is_no_picture_is_refused(encoding):
    with pytest.raises(ImageError, match='encoding') as caught:
        to_bgr(message(encoding, np.zeros((4, 64), np.uint8), 4, 4))
    assert caught.value.reason == 'encoding'


@pytest.mark.parametrize(('encoding', 'text'), [
    ('16UC1', 'publish a grey picture as mono8 or mono16$'),
    ('32FC1', 'publish a grey picture as mono8 or mono16$'),
    (50 * 'x', f"^encoding '{40 * 'x'}' is not a picture .*; it reads 16UC3, 16UC4, 8UC1, "),
])
def test_a_refusal_says_what_is_read(encoding, text):
    with pytest.raises(ImageError, match=text):
        to_bgr(message(encoding, np.zeros((4, 64), np.uint8), 4, 4))


def test_sixteen_bits_are_scaled_by_the_largest():
    pixels = np.array([[[65407, 65406, 128]]], np.uint16)
    assert eight_bits(pixels).tolist() == [[[255, 254, 0]]]


def test_other_numbers_than_8_and_16_bits_are_no_picture():
    text = 'the pixels are float32: only 8 and 16 bits are a picture'
    with pytest.raises(ImageError, match=f'^{text}$') as caught:
        eight_bits(np.zeros((2, 2, 3), np.float32))
    assert caught.value.reason == 'encoding'


def test_the_smallest_mosaic_has_three_rows_and_columns():
    assert demosaic(np.full((3, 3), 7, np.uint8), 'bayer_rggb8').tolist() == [[[7] * 3] * 3] * 3


@pytest.mark.parametrize(('encoding', 'colour'), [
    ('mono8', False), ('mono16', False), ('8UC1', False), ('bgr8', True), ('rgba16', True),
    ('yuyv', True), ('bayer_rggb8', True), ('nv12', True), ('nv24', True),
])
def test_which_encodings_are_in_colour(encoding, colour):
    assert raw_has_colour(SimpleNamespace(encoding=encoding)) is colour


def test_what_is_no_picture_has_no_colour():
    with pytest.raises(ImageError, match=r"^encoding 'jpeg' is not a picture") as caught:
        raw_has_colour(SimpleNamespace(encoding='jpeg'))
    assert caught.value.reason == 'encoding'


@pytest.mark.parametrize(('encoding', 'shape', 'reason', 'text'), [
    ('mono8', (4, 4), 'encoding', "^'mono8' is not a Bayer encoding$"),
    ('bayer_rgbg8', (4, 4), 'encoding', "^'bayer_rgbg8' is not a Bayer encoding$"),
    ('bayer_rggb8', (2, 4), 'size', "^an image in 'bayer_rggb8' needs at least 3x3 pixels"),
])
def test_a_mosaic_needs_a_pattern_and_pixels(encoding, shape, reason, text):
    with pytest.raises(ImageError, match=text) as caught:
        demosaic(np.zeros(shape, np.uint8), encoding)
    assert caught.value.reason == reason


@pytest.mark.parametrize(('change', 'reason', 'text'), [
    ({'width': 0}, 'size', 'no pixels'),
    ({'height': 0}, 'size', 'no pixels'),
    ({'width': 2**32 - 1, 'height': 2**32 - 1}, 'size', 'refused'),
    ({'step': 0}, 'step', 'step is 0'),
    ({'step': 11}, 'step', 'takes 12'),
    ({'step': 13}, 'short data', 'needs 51'),
    ({'height': 5}, 'short data', '48 bytes'),
    ({'step': 2**32 - 1}, 'short data', 'needs'),
    ({'encoding': 'bayer_rggb8', 'width': 2}, 'size', "'bayer_rggb8' needs at least 3x3"),
    ({'encoding': 'yuyv', 'width': 3}, 'size', 'even'),
    ({'encoding': 'nv12', 'height': 3}, 'size', 'even'),
    ({'encoding': 'nv21', 'step': 3}, 'step', 'takes 4'),
    ({'encoding': 'nv24', 'height': 8}, 'short data', 'needs'),
])
def test_what_cannot_be_is_refused_with_its_reason(change, reason, text):
    broken = message('bgr8', np.zeros((4, 12), np.uint8), 4, 4)
    for name, value in change.items():
        setattr(broken, name, value)
    with pytest.raises(ImageError, match=text) as caught:
        to_bgr(broken)
    assert caught.value.reason == reason


@pytest.mark.parametrize('encoding', ['bgr8', 'rgb8', 'bgra8', 'rgba8', 'mono8', 'mono16'])
def test_same_as_cv_bridge(encoding):
    cv_bridge = pytest.importorskip('cv_bridge', reason='cv_bridge comes with a ROS installation')
    _, rows = random_values(encoding, (6, 8, len(COLOUR[encoding])), False)
    image = message(encoding, rows, 6, 8)
    theirs = cv_bridge.CvBridge().imgmsg_to_cv2(image, 'bgr8')
    assert np.abs(to_bgr(image).astype(int) - theirs).max() <= 1
