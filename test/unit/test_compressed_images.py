# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Compressed images: what is decoded, what is refused before it is decoded."""

import io
import struct
import zlib
from types import SimpleNamespace

import cv2
import numpy as np
import PIL.Image
import pytest
from std_msgs.msg import Header

from stmask_ros.images import (
    ImageError,
    compressed_picture,
    compressed_size,
    compressed_to_bgr,
    file_to_bgr,
    has_colour,
    to_bgr,
)
from stmask_ros.ros.image_messages import compressed_from_bgr

RAMP = np.stack(np.broadcast_arrays(
    np.arange(60, dtype=np.uint8)[None] * 4, np.arange(40, dtype=np.uint8)[:, None] * 6,
    np.uint8(90)), -1)


def compressed(data, format_text='jpeg'):
    return SimpleNamespace(format=format_text, data=np.frombuffer(bytes(data), np.uint8))


def encode(suffix, pixels=RAMP):
    return cv2.imencode(suffix, pixels)[1].tobytes()


def huge_png(width, height):
    header = b'IHDR' + struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    crc = struct.pack('>I', zlib.crc32(header))
    return encode('.png')[:8] + struct.pack('>I', 13) + header + crc + encode('.png')[33:]


def huge_jpeg(width, height):
    data = encode('.jpg')
    frame = data.index(b'\xff\xc0') + 5
    return data[:frame] + struct.pack('>HH', height, width) + data[frame + 4:]


@pytest.mark.parametrize(('suffix', 'tolerance'), [
    ('.png', 0), ('.jpg', 12), ('.webp', 0), ('.tiff', 0),
])
def test_colour(suffix, tolerance):
    data = encode(suffix)
    picture = compressed_to_bgr(compressed(data))
    assert np.abs(picture.astype(int) - RAMP).max() <= tolerance
    assert compressed_size(data) == (60, 40)


def test_a_file_may_be_a_bmp_and_a_message_may_not():
    np.testing.assert_array_equal(file_to_bgr(encode('.bmp'), upright=False), RAMP)
    with pytest.raises(ImageError, match=r'not a readable JPEG, PNG, TIFF or WebP$'):
        compressed_to_bgr(compressed(encode('.bmp')))


def test_grey_and_sixteen_bits_and_alpha():
    grey = RAMP[..., 1].copy()
    np.testing.assert_array_equal(
        compressed_to_bgr(compressed(encode('.png', grey))), np.dstack([grey] * 3))
    deep = encode('.png', RAMP.astype(np.uint16) * 257)
    assert np.abs(compressed_to_bgr(compressed(deep)).astype(int) - RAMP).max() <= 1
    clear = encode('.png', np.dstack([RAMP, np.full((40, 60), 255, np.uint8)]))
    np.testing.assert_array_equal(compressed_to_bgr(compressed(clear)), RAMP)


def test_own_messages_round_trip():
    sent = compressed_from_bgr(RAMP, Header(), 95)
    assert sent.format == 'bgr8; jpeg compressed bgr8'
    assert np.abs(compressed_to_bgr(sent).astype(int) - RAMP).max() <= 12


MOSAIC = np.random.default_rng(1).integers(0, 256, (8, 10), np.uint8)
DEEP_MOSAIC = np.random.default_rng(1).integers(0, 65536, (8, 10), np.uint16)


def demosaiced(pattern, mosaic):
    raw = SimpleNamespace(
        height=8, width=10, encoding=f'bayer_{pattern}{8 * mosaic.itemsize}', is_bigendian=0,
        step=10 * mosaic.itemsize, data=mosaic.reshape(-1).view(np.uint8))
    return to_bgr(raw)


@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
@pytest.mark.parametrize('format_text', [
    'bayer_{0}8; png compressed ', 'bayer_{0}16; png compressed bayer_{0}16',
    'bayer_{0}8; png compressed', 'bayer_{0}16;png compressed bayer_{0}8',
])
@pytest.mark.parametrize('mosaic', [MOSAIC, DEEP_MOSAIC])
def test_a_compressed_mosaic_is_demosaiced_by_the_depth_of_its_file(pattern, format_text, mosaic):
    sent = compressed(encode('.png', mosaic), format_text.format(pattern))
    np.testing.assert_array_equal(compressed_to_bgr(sent), demosaiced(pattern, mosaic))


@pytest.mark.parametrize(('pixels', 'format_text', 'colour'), [
    (RAMP, 'png', True), (MOSAIC, 'png', False), (MOSAIC, 'bayer_rggb8; png compressed ', True),
])
def test_files_and_mosaics_in_colour(pixels, format_text, colour):
    assert has_colour(compressed(encode('.png', pixels), format_text), compressed=True) is colour


@pytest.mark.parametrize('depth', [8, 16])
@pytest.mark.parametrize('within', ['mono8', 'mono16', 'bgr8'])
def test_the_grey_version_of_a_bayer_camera_is_no_mosaic(depth, within):
    sent = compressed(encode('.png', MOSAIC), f'bayer_rggb{depth}; png compressed {within}')
    np.testing.assert_array_equal(compressed_to_bgr(sent), np.dstack([MOSAIC] * 3))


@pytest.mark.parametrize('within', ['', 'bgr8', 'rgb8', 'bayer_rggb8'])
@pytest.mark.parametrize('pixels', [RAMP, RAMP.astype(np.uint16) * 257])
def test_three_channels_are_no_mosaic(within, pixels):
    sent = compressed(encode('.png', pixels), f'bayer_rggb16; png compressed {within}')
    np.testing.assert_array_equal(compressed_to_bgr(sent), RAMP)


@pytest.mark.parametrize('format_text', [
    '', ' ', 'jpg', 'png', 'mjpeg', 'jpeg;', '; jpeg compressed bgr8', 'jpeg; rgb8',
    'jpeg; grayscale', 'image/jpeg; charset=binary', 'RGB8; jpeg compressed bgr8',
    'i420; jpeg compressed bgr8', 'yuv422; jpeg compressed bgr8', 'bayer_rggb8', 'bayer_rggb8;',
    'bayer_rggb8; jpeg', 'bayer; compressed', 'rgb8; jpeg compressed rgb8', 'mono16; jpeg',
    '\0', 'depth; jpeg compressed', 'bgr8; jpeg compressed bgr8; quality=80',
])
def test_other_words_mean_a_plain_picture(format_text):
    for pixels in (RAMP, MOSAIC):
        expected = pixels if pixels.ndim == 3 else np.dstack([pixels] * 3)
        sent = compressed(encode('.png', pixels), format_text)
        np.testing.assert_array_equal(compressed_to_bgr(sent), expected)


@pytest.mark.parametrize('suffix', ['.png', '.tiff'])
@pytest.mark.parametrize('pixels', [RAMP, RAMP[..., 0].copy()])
def test_sixteen_bits_are_scaled_as_those_of_a_raw_image(suffix, pixels):
    deep = np.random.default_rng(2).integers(0, 65536, pixels.shape, np.uint16)
    encoding = 'bgr16' if deep.ndim == 3 else 'mono16'
    raw = SimpleNamespace(
        height=40, width=60, encoding=encoding, is_bigendian=0, step=deep.nbytes // 40,
        data=deep.reshape(-1).view(np.uint8))
    sent = compressed(encode(suffix, deep), f'{encoding}; {suffix[1:]} compressed ')
    np.testing.assert_array_equal(compressed_to_bgr(sent), to_bgr(raw))


def test_the_pixels_stay_where_the_sensor_has_them():
    file = io.BytesIO()
    exif = PIL.Image.Exif()
    exif[274] = 6  # "turn it by 90 degrees to look at it"
    PIL.Image.fromarray(RAMP).save(file, 'JPEG', exif=exif)
    assert compressed_to_bgr(compressed(file.getvalue())).shape == (40, 60, 3)


def jpeg_of(picture=None, **options):
    file = io.BytesIO()
    (picture or PIL.Image.fromarray(RAMP[..., ::-1].copy())).save(file, **options)
    return file.getvalue()


NOISE = np.random.default_rng(3).integers(0, 256, 20_000, np.uint8).tobytes()
THUMBNAIL = b'\xff\xe1' + (len(encode('.jpg')) + 8).to_bytes(2, 'big') + b'Exif\0\0' + (
    encode('.jpg'))


@pytest.mark.parametrize('behind', [
    b'\0' * 9000, b'\xff' * 9000, NOISE[:2000], NOISE, b'\0\0\0\x18ftypmp42' + NOISE,
    encode('.jpg'), encode('.jpg')[:-300], encode('.png'), b'\xff\xd9' * 5000,
])
def test_what_lies_behind_the_end_of_a_jpeg_does_no_harm(behind):
    expected = compressed_to_bgr(compressed(encode('.jpg')))
    sent = compressed(encode('.jpg') + behind)
    np.testing.assert_array_equal(compressed_to_bgr(sent), expected)


@pytest.mark.parametrize('data', [
    jpeg_of(format='JPEG', progressive=True), jpeg_of(format='JPEG', optimize=True),
    jpeg_of(format='JPEG', restart_marker_blocks=1), jpeg_of(format='JPEG', subsampling=0),
    jpeg_of(format='MPO', save_all=True, append_images=[PIL.Image.new('RGB', (60, 40))]),
    jpeg_of(PIL.Image.fromarray(RAMP[..., ::-1].copy()).convert('CMYK'), format='JPEG'),
    jpeg_of(format='JPEG', comment=b'\xff\xd8\xff\xd9' * 9), encode('.jpg')[:2] + THUMBNAIL + (
        encode('.jpg')[2:]), encode('.jpg')[:2] + b'\xff' * 5 + encode('.jpg')[2:],
])
def test_every_kind_of_jpeg_is_read_and_its_half_is_not(data):
    assert np.abs(compressed_to_bgr(compressed(data)).astype(int) - RAMP).mean() < 4
    assert compressed_picture(compressed(data), lambda _: (10, 15)).pixels.shape == (10, 15, 3)
    start = data.index(b'\xff\xda', len(THUMBNAIL) if THUMBNAIL in data else 0)
    with pytest.raises(ImageError, match='cut off'):
        compressed_to_bgr(compressed(data[:start + 40] + b'\0' * 99))


def test_a_jpeg_that_another_one_breaks_into_is_refused():
    with pytest.raises(ImageError, match='cut off'):
        compressed_to_bgr(compressed(encode('.jpg')[:-200] + encode('.jpg')))


def test_a_file_made_of_markers_costs_no_time():
    sent = compressed(encode('.jpg')[:-2] + b'\xff\xc4\0\0' * 1_000_000)
    with pytest.raises(ImageError, match='cut off'):
        compressed_to_bgr(sent)


@pytest.mark.parametrize(('enough', 'shape'), [
    (None, (181, 320)),
    ((91, 160), (181, 320)),
    ((90, 160), (91, 160)),
    ((45, 80), (46, 80)),
    ((22, 41), (46, 80)),
    ((22, 40), (23, 40)),
    ((1, 1), (23, 40)),
])
@pytest.mark.parametrize('grey', [False, True])
def test_a_jpeg_is_decoded_as_finely_as_is_needed(enough, shape, grey):
    smooth = cv2.resize(RAMP, (320, 181), interpolation=cv2.INTER_CUBIC)
    smooth = smooth[..., 1] if grey else smooth
    picture = compressed_picture(
        compressed(encode('.jpg', smooth)), None if enough is None else {(181, 320): enough}.get
    )
    assert picture.size == (181, 320)
    assert picture.pixels.shape == (*shape, 3)
    # Where the last cells reach beyond the picture, a JPEG repeats its edge.
    part = 320 // shape[1]
    filled = cv2.copyMakeBorder(smooth, 0, shape[0] * part - 181, 0, 0, cv2.BORDER_REPLICATE)
    expected = cv2.resize(filled, shape[::-1], interpolation=cv2.INTER_AREA)
    expected = np.dstack([expected] * 3) if grey else expected
    assert np.abs(picture.pixels.astype(int) - expected).mean() < 1.5


@pytest.mark.parametrize(('suffix', 'format_text'), [
    ('.png', 'png'), ('.webp', 'webp'), ('.jpg', 'bayer_rggb8; jpeg compressed '),
])
def test_what_saves_nothing_or_is_a_mosaic_stays_whole(suffix, format_text):
    pixels = RAMP[..., 0].copy() if format_text.startswith('bayer') else RAMP
    sent = compressed(encode(suffix, pixels), format_text)
    picture = compressed_picture(sent, lambda _: (5, 5))
    assert picture.size == (40, 60)
    np.testing.assert_array_equal(picture.pixels, compressed_to_bgr(sent))


def test_an_orientation_is_ignored_in_a_small_version_too():
    file = io.BytesIO()
    exif = PIL.Image.Exif()
    exif[274] = 6
    PIL.Image.fromarray(RAMP).save(file, 'JPEG', exif=exif)
    assert compressed_picture(
        compressed(file.getvalue()), lambda _: (20, 30)
    ).pixels.shape == (20, 30, 3)


@pytest.mark.parametrize(('message', 'reason', 'text'), [
    (compressed(b''), 'short data', '^the compressed image is empty$'),
    (compressed(b'no picture at all'), 'compressed format',
     '^the data starts with 6e 6f 20 70: not a readable JPEG, PNG, TIFF or WebP$'),
    (compressed(encode('.bmp')), 'compressed format', 'not a readable'),
    (compressed(encode('.jpg')[:-300]), 'broken data', 'cut off'),
    (compressed(encode('.png')[:-40]), 'broken data', 'cannot be decoded'),
    (compressed(encode('.webp')[:-40]), 'broken data', 'image'),
    (compressed(encode('.png'), '16UC1; compressedDepth png'), 'compressed format',
     "^format 'compressedDepth' is a depth image: use a colour topic$"),
    (compressed(encode('.png'), '16UC1; png compressed '), 'encoding', 'depth'),
    (compressed(encode('.png'), '16UC1'), 'encoding', 'depth'),
    (compressed(encode('.tiff'), '32FC1; tiff compressed '), 'encoding', 'depth'),
    (compressed(encode('.png'), '32FC1; compressedDepth rvl'), 'compressed format', 'depth'),
    (compressed(encode('.png'), '; compressedDepth png'), 'compressed format', 'depth'),
    (compressed(encode('.png'), '16SC1; png compressed '), 'encoding', 'no picture|not a picture'),
    (compressed(jpeg_of(PIL.Image.new('F', (9, 9)), format='TIFF')), 'broken data', 'cannot be'),
    (compressed(huge_png(30000, 30000)), 'size', 'refused'),
    (compressed(huge_png(10000, 7000)), 'size', '10000x7000'),
    (compressed(huge_png(0, 7)), 'compressed format', 'not a readable'),
    (compressed(huge_jpeg(65500, 65500)), 'size', 'refused'),
    (compressed(huge_jpeg(10000, 7000)), 'size', '10000x7000'),
])
def test_what_is_refused(message, reason, text):
    with pytest.raises(ImageError, match=text) as caught:
        compressed_to_bgr(message)
    assert caught.value.reason == reason
