# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The images of zstd_image_transport, from CompressedImage to the raw image inside. Needs no ROS.

The data begins with height, width (uint32 each), is_bigendian (uint8), step and the length of the
encoding's name (uint32 each), all little endian, and that name. The raw image's data follows: a
gzip or zlib stream, in spite of the name, from most versions of the plugin, a Zstandard frame from
others.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

from stmask_ros.images.raw import MAX_PIXELS, ImageError, check_pixel_count

FORMAT = 'zstd'

_HEADER = struct.Struct('<IIBII')
_LONGEST_NAME = 64
_ZSTANDARD = b'\x28\xb5\x2f\xfd'
# Of zlib's windows: the largest, with a header of either gzip or zlib.
_EITHER_HEADER = zlib.MAX_WBITS + 32
# Planes of an image with two full planes of colour, and the bytes of its largest pixels.
_MOST_PLANES, _LARGEST_PIXEL = 3, 8


@dataclass
class RawImage:
    """The fields of sensor_msgs/Image but its header; see stmask_ros.images.raw.ImageMessage."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: bytes


def unpacked(packed: Any) -> RawImage:
    """
    Return the raw image in the data of a CompressedImage of format 'zstd'.

    packed: array.array('B'), uint8 array or bytes. No more is unpacked than the image's size asks
    for, whatever the stream holds. Raises ImageError.
    """
    image, stream = _header(bytes(packed))
    most = min(_MOST_PLANES * image.step * image.height, _LARGEST_PIXEL * MAX_PIXELS)
    unpack = _unpack_zstandard if stream.startswith(_ZSTANDARD) else _unpack_zlib
    return RawImage(
        image.height, image.width, image.encoding, image.is_bigendian, image.step,
        unpack(stream, most))


def header(packed: Any) -> RawImage:
    """Return what comes before the pixels, without data; ImageError if it is cut off."""
    return _header(bytes(packed))[0]


def _header(packed: bytes) -> tuple[RawImage, bytes]:
    """Return the image without its data, and the stream that holds them."""
    if len(packed) < _HEADER.size:
        raise ImageError('short data', (
            f'the zstd image has {len(packed)} bytes, its header alone takes {_HEADER.size}'))
    height, width, is_bigendian, step, length = _HEADER.unpack_from(packed)
    end = _HEADER.size + length
    if length > _LONGEST_NAME or len(packed) <= end:
        raise ImageError('short data', (
            f'the zstd image of {len(packed)} bytes is cut off, or is none: its encoding alone '
            f'would take {length} bytes'))
    check_pixel_count(width, height)
    encoding = packed[_HEADER.size:end].decode('ascii', 'replace')
    return RawImage(height, width, encoding, is_bigendian, step, b''), packed[end:]


def _unpack_zlib(stream: bytes, most: int) -> bytes:
    unpacker = zlib.decompressobj(_EITHER_HEADER)
    try:
        data = unpacker.decompress(stream, max(most, 1))
    except zlib.error as error:
        raise ImageError(
            'broken data', f'the zstd image cannot be unpacked: {error}') from error
    if unpacker.unconsumed_tail:
        raise _too_much(most)
    if not unpacker.eof:
        raise ImageError(
            'broken data', f'the zstd image is cut off: {len(data)} bytes could be unpacked')
    return data


def _unpack_zstandard(stream: bytes, most: int) -> bytes:
    try:
        import zstandard
    except ModuleNotFoundError as error:
        raise ImageError('compressed format', (
            'the zstd image is a Zstandard frame, which needs the package zstandard: pip install '
            'zstandard')) from error
    try:
        if zstandard.frame_content_size(stream) > most:
            raise _too_much(most)
        return zstandard.ZstdDecompressor().decompress(stream, max_output_size=max(most, 1))
    except zstandard.ZstdError as error:
        raise ImageError(
            'broken data', f'the zstd image cannot be unpacked: {error}') from error


def _too_much(most: int) -> ImageError:
    return ImageError('size', f'the zstd image holds more than the {most} bytes of its size')
