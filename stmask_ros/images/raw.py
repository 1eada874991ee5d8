# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Camera messages to pictures: every colour, mono, YUV and Bayer encoding of sensor_msgs.

Works on messages of rclpy and of rosbags alike, so that a replay sees exactly what the node sees.
Needs no ROS. A message that cannot be converted raises ImageError, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

Bgr = npt.NDArray[np.uint8]
Pixels = npt.NDArray[Any]
# Of the whole picture's height and width [pixel], those at which it will be looked at.
SeenSize: TypeAlias = Callable[[tuple[int, int]], tuple[int, int]]
Reason = Literal[
    'encoding', 'size', 'step', 'short data', 'compressed format', 'broken data', 'no picture',
    'waits for a key frame',
]

# OpenCV's names of pixels without a meaning, such as 32FC1.
_NUMBERS = re.compile(r'(8|16|32|64)[USF]C\d+')

# How many times shorter the sides can be made while decoding, which saves most of the work.
_REDUCTIONS = (8, 4, 2)

# More than any video camera has, and few enough that a decoder's memory stays below 1 GB.
MAX_PIXELS = 64 * 1024 * 1024


class ImageError(ValueError):
    """
    A message that cannot be turned into a picture.

    reason: a few fixed words, good for counting. str(error): one sentence for the user.
    """

    def __init__(self, reason: Reason, text: str) -> None:
        """Keep the reason beside the text."""
        super().__init__(text)
        self.reason: Reason = reason


class NoPictureError(ImageError):
    """A message of a video that is right, and gives no picture all the same."""


class ImageMessage(Protocol):
    """The fields of sensor_msgs/Image; data: array.array('B'), uint8 array or bytes."""

    height: int
    width: int
    encoding: str
    is_bigendian: Any
    step: int
    data: Any


@dataclass(frozen=True)
class Picture:
    """
    An image as its reader needs it.

    pixels: uint8 BGR [h, w, 3] of all of the image, in its own resolution or in a lower one.
    size: height and width of the image itself [pixel].
    """

    pixels: Bgr
    size: tuple[int, int]

    @classmethod
    def whole(cls, pixels: Bgr) -> Picture:
        """Return an image in its own resolution."""
        height, width = pixels.shape[:2]
        return cls(pixels, (height, width))


@dataclass(frozen=True)
class _Packed:
    """
    One plane of pixels.

    channels: values a pixel. depth: bytes a value. conversion: OpenCV's code, None for BGR itself.
    smallest: fewest rows and columns. pairs: pixels of a row come in pairs that share colour.
    """

    channels: int
    depth: int
    conversion: int | None
    smallest: int = 1
    pairs: bool = False


def _bayer(depth: int, conversion: int) -> _Packed:
    return _Packed(1, depth, conversion, smallest=3)


# OpenCV names a Bayer pattern by the second row's second and third pixel, ROS by the first two
# rows' first two.
_PACKED = {
    'bgr8': _Packed(3, 1, None),
    '8UC3': _Packed(3, 1, None),
    'rgb8': _Packed(3, 1, cv2.COLOR_RGB2BGR),
    'bgra8': _Packed(4, 1, cv2.COLOR_BGRA2BGR),
    '8UC4': _Packed(4, 1, cv2.COLOR_BGRA2BGR),
    'rgba8': _Packed(4, 1, cv2.COLOR_RGBA2BGR),
    'mono8': _Packed(1, 1, cv2.COLOR_GRAY2BGR),
    '8UC1': _Packed(1, 1, cv2.COLOR_GRAY2BGR),
    'bgr16': _Packed(3, 2, None),
    '16UC3': _Packed(3, 2, None),
    'rgb16': _Packed(3, 2, cv2.COLOR_RGB2BGR),
    'bgra16': _Packed(4, 2, cv2.COLOR_BGRA2BGR),
    '16UC4': _Packed(4, 2, cv2.COLOR_BGRA2BGR),
    'rgba16': _Packed(4, 2, cv2.COLOR_RGBA2BGR),
    'mono16': _Packed(1, 2, cv2.COLOR_GRAY2BGR),
    'uyvy': _Packed(2, 1, cv2.COLOR_YUV2BGR_UYVY, pairs=True),
    'yuv422': _Packed(2, 1, cv2.COLOR_YUV2BGR_UYVY, pairs=True),
    'yuyv': _Packed(2, 1, cv2.COLOR_YUV2BGR_YUY2, pairs=True),
    'yuv422_yuy2': _Packed(2, 1, cv2.COLOR_YUV2BGR_YUY2, pairs=True),
    'bayer_rggb8': _bayer(1, cv2.COLOR_BayerBG2BGR),
    'bayer_bggr8': _bayer(1, cv2.COLOR_BayerRG2BGR),
    'bayer_gbrg8': _bayer(1, cv2.COLOR_BayerGR2BGR),
    'bayer_grbg8': _bayer(1, cv2.COLOR_BayerGB2BGR),
    'bayer_rggb16': _bayer(2, cv2.COLOR_BayerBG2BGR),
    'bayer_bggr16': _bayer(2, cv2.COLOR_BayerRG2BGR),
    'bayer_gbrg16': _bayer(2, cv2.COLOR_BayerGR2BGR),
    'bayer_grbg16': _bayer(2, cv2.COLOR_BayerGB2BGR),
}

# Rows: B, G, R. Columns: Y, U, V, 1. ITU-R BT.601 with Y in 16..235, as OpenCV has it for NV12.
_BT601 = np.array([
    [1.164, 2.018, 0.0, -16 * 1.164 - 128 * 2.018],
    [1.164, -0.391, -0.813, -16 * 1.164 + 128 * (0.391 + 0.813)],
    [1.164, 0.0, 1.596, -16 * 1.164 - 128 * 1.596],
])


def raw_picture(message: ImageMessage, _seen_size: SeenSize | None = None) -> Picture:
    """Return the picture of a sensor_msgs/Image, always whole: see to_bgr. Raises ImageError."""
    return Picture.whole(to_bgr(message))


def to_bgr(message: ImageMessage) -> Bgr:
    """
    Return the uint8 BGR [height, width, 3] picture of a sensor_msgs/Image.

    16-bit values are scaled by 255 / 65535. The picture of a bgr8 message is a view into its data
    (with its row padding, and read-only where the data is): copy it before changing it.
    Raises ImageError.
    """
    _check_size(message.width, message.height)
    packed = _PACKED.get(message.encoding)
    if packed is not None:
        return _packed_to_bgr(message, packed)
    planar = _PLANAR.get(message.encoding)
    if planar is not None:
        return planar(message)
    raise ImageError('encoding', _refusal(message.encoding))


def reduction(size: tuple[int, int], seen_size: SeenSize | None) -> int:
    """
    Return how many times shorter the sides of a picture may be made while it is decoded.

    size: height and width [pixel]. 8, 4 or 2 if it is seen no finer, 1 if it is needed whole.
    """
    if seen_size is not None:
        height, width = seen_size(size)
        for part in _REDUCTIONS:
            if size[0] >= part * height and size[1] >= part * width:
                return part
    return 1


def demosaic(mosaic: Pixels, encoding: str) -> Bgr:
    """
    Return the BGR picture of a uint8 or uint16 [height, width] Bayer mosaic; or ImageError.

    encoding: tells the pattern; the depth is the mosaic's own.
    """
    name = f'{encoding.rstrip("0123456789")}{8 * mosaic.itemsize}'
    packed = _PACKED.get(name)
    if packed is None or packed.smallest == 1:
        raise ImageError('encoding', f"'{encoding}' is not a Bayer encoding")
    height, width = mosaic.shape
    _check_layout(width, height, packed, name)
    return _convert(mosaic, packed)


def raw_has_colour(message: ImageMessage) -> bool:
    """Return whether a sensor_msgs/Image is in colour; ImageError if its encoding is none."""
    if message.encoding not in _PACKED and message.encoding not in _PLANAR:
        raise ImageError('encoding', _refusal(message.encoding))
    packed = _PACKED.get(message.encoding)
    return packed is None or packed.channels > 1 or packed.smallest > 1


def check_no_data(encoding: str) -> None:
    """Raise ImageError for an encoding of numbers that are no picture: depth, labels."""
    if encoding not in _PACKED and _NUMBERS.fullmatch(encoding):
        raise ImageError('encoding', _refusal(encoding))


def eight_bits(pixels: Pixels) -> Bgr:
    """Return a picture of bytes, uint16 scaled by 255 / 65535; ImageError for other numbers."""
    if pixels.dtype == np.uint16:
        pixels = cv2.convertScaleAbs(pixels, alpha=255 / 65535)
    if pixels.dtype != np.uint8:
        raise ImageError(
            'encoding', f'the pixels are {pixels.dtype}: only 8 and 16 bits are a picture')
    return np.asarray(pixels, np.uint8)


def check_pixel_count(width: int, height: int) -> None:
    """Raise ImageError if a picture has no pixels, or more than MAX_PIXELS."""
    _check_size(width, height)


def _check_size(width: int, height: int) -> None:
    if width <= 0 or height <= 0:
        raise ImageError('size', f'the image is {width}x{height}: it has no pixels')
    if width * height > MAX_PIXELS:
        raise ImageError(
            'size', f'the image is {width}x{height}: more than {MAX_PIXELS} pixels are refused')


def _refusal(encoding: str) -> str:
    """Return the sentence that says why an encoding is not taken."""
    known = ', '.join(sorted([*_PACKED, *_PLANAR]))
    if encoding in ('16UC1', '32FC1'):
        return (
            f"encoding '{encoding}' is for depth images by custom: publish a grey picture as "
            'mono8 or mono16')
    return f"encoding '{encoding[:40]}' is not a picture this node can read; it reads {known}"


def _packed_to_bgr(message: ImageMessage, packed: _Packed) -> Bgr:
    _check_layout(message.width, message.height, packed, message.encoding)
    value = packed.depth * packed.channels
    _check_step(message, message.width * value)
    data = _bytes(message, message.step * (message.height - 1) + message.width * value)
    return _convert(
        np.ndarray(
            (message.height, message.width, packed.channels),
            _value_type(packed.depth, bool(message.is_bigendian)),
            data,
            strides=(message.step, value, packed.depth),
        ),
        packed,
    )


def _check_layout(width: int, height: int, packed: _Packed, encoding: str) -> None:
    if min(width, height) < packed.smallest:
        raise ImageError(
            'size',
            f"an image in '{encoding}' needs at least {packed.smallest}x{packed.smallest} pixels, "
            f'this one is {width}x{height}')
    if packed.pairs and width % 2:
        raise ImageError(
            'size', f"an image in '{encoding}' has an even width, this one is {width} wide")


def _check_step(message: ImageMessage, row: int) -> None:
    if message.step < row:
        raise ImageError(
            'step',
            f"step is {message.step} bytes, but a row of {message.width} pixels in "
            f"'{message.encoding}' takes {row}")


def _bytes(message: ImageMessage, needed: int) -> npt.NDArray[np.uint8]:
    """Return the data as uint8 without copying; ImageError if fewer than needed."""
    data = np.frombuffer(message.data, np.uint8)
    if data.size < needed:
        raise ImageError(
            'short data',
            f'the image has {data.size} bytes of data; {message.width}x{message.height} in '
            f"'{message.encoding}' with a step of {message.step} needs {needed}")
    return data


def _value_type(depth: int, big_endian: bool) -> np.dtype[Any]:
    return np.dtype(f'{">" if big_endian else "<"}u{depth}')


def _convert(values: Pixels, packed: _Packed) -> Bgr:
    """values: one or two bytes a value, [height, width] or [height, width, channels]."""
    if packed.depth == 2:
        values = values.astype(np.uint16)
    if packed.channels == 1:
        values = values[..., 0] if values.ndim == 3 else values
    if packed.conversion is not None:
        values = cv2.cvtColor(values, packed.conversion)
    return eight_bits(values)


def _two_planes(message: ImageMessage, conversion: int) -> Bgr:
    """Y at full size, then U and V side by side at half size."""
    width, height, step = message.width, message.height, message.step
    if width % 2 or height % 2:
        raise ImageError(
            'size', f"an image in '{message.encoding}' has even sides, this one is "
            f'{width}x{height}')
    _check_step(message, width)
    data = _bytes(message, step * (height + height // 2 - 1) + width)
    luma = np.ndarray((height, width), np.uint8, data, strides=(step, 1))
    chroma = np.ndarray(
        (height // 2, width // 2, 2), np.uint8, data, height * step, strides=(step, 2, 1))
    return np.asarray(cv2.cvtColorTwoPlane(luma, chroma, conversion), np.uint8)


def _nv12(message: ImageMessage) -> Bgr:
    return _two_planes(message, cv2.COLOR_YUV2BGR_NV12)


def _nv21(message: ImageMessage) -> Bgr:
    return _two_planes(message, cv2.COLOR_YUV2BGR_NV21)


def _nv24(message: ImageMessage) -> Bgr:
    """Y at full size, then U and V side by side at full size, in rows twice as long."""
    width, height, step = message.width, message.height, message.step
    _check_step(message, width)
    data = _bytes(message, step * height + 2 * step * (height - 1) + 2 * width)
    yuv = np.empty((height, width, 3), np.uint8)
    yuv[..., 0] = np.ndarray((height, width), np.uint8, data, strides=(step, 1))
    yuv[..., 1:] = np.ndarray(
        (height, width, 2), np.uint8, data, height * step, strides=(2 * step, 2, 1))
    yuv[..., 0] = np.maximum(yuv[..., 0], 16)
    return np.asarray(cv2.transform(yuv, _BT601), np.uint8)


_PLANAR: dict[str, Callable[[ImageMessage], Bgr]] = {'nv12': _nv12, 'nv21': _nv21, 'nv24': _nv24}

