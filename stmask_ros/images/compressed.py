"""
Compressed camera messages to pictures: JPEG, PNG and WebP. Needs no ROS.

The size is read from the file's header before anything is decoded, so that a few bytes that claim
to be a huge picture cannot take the memory.
"""

from __future__ import annotations

import io
from typing import Any, Protocol

import cv2
import numpy as np
import PIL.Image

from stmask_ros.images.raw import (
    Bgr,
    ImageError,
    Pixels,
    check_colour,
    check_pixel_count,
    demosaic,
)

_FORMATS = ('JPEG', 'PNG', 'WEBP')

# A camera may add a little after the end of a JPEG, most often zeros.
_JPEG_END = b'\xff\xd9'
_LONGEST_JPEG_TRAILER = 4096


class CompressedImageMessage(Protocol):
    """The fields of sensor_msgs/CompressedImage; data: array.array('B'), uint8 array or bytes."""

    @property
    def format(self) -> str:
        """Encoding before compression and kind of compression."""

    @property
    def data(self) -> Any:
        """The compressed file."""


def compressed_to_bgr(message: CompressedImageMessage) -> Bgr:
    """
    Return the uint8 BGR [height, width, 3] picture of a sensor_msgs/CompressedImage.

    The format's first word is the encoding before compression where image_transport wrote the
    message ('bayer_rggb8; jpeg compressed'): a compressed Bayer mosaic is demosaiced, depth is
    refused. An orientation in EXIF is ignored, as the camera's calibration knows nothing of it.
    Raises ImageError.
    """
    before = _encoding_before(message.format)
    data = np.frombuffer(message.data, np.uint8)
    compressed_size(data)
    if before.startswith('bayer_'):
        return demosaic(_decode(data, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH), before)
    colour = _decode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return np.asarray(colour, np.uint8)


def compressed_size(data: Any) -> tuple[int, int]:
    """Return width and height [pixel] as a JPEG, PNG or WebP file's header has them."""
    raw = bytes(data)
    if not raw:
        raise ImageError('short data', 'the compressed image is empty')
    kind, width, height = _header(raw)
    check_pixel_count(width, height)
    if kind == 'JPEG' and _JPEG_END not in raw.rstrip(b'\0')[-_LONGEST_JPEG_TRAILER:]:
        raise ImageError('broken data', f'the JPEG of {len(raw)} bytes is cut off before its end')
    return width, height


def _encoding_before(format_text: str) -> str:
    """Return the encoding before compression, '' if unknown; ImageError for depth."""
    if 'compressedDepth' in format_text:
        raise ImageError(
            'compressed format', "format 'compressedDepth' is a depth image: use a colour topic")
    before, separator, _ = format_text.partition(';')
    if not separator:
        return ''
    check_colour(before.strip())
    return before.strip()


def _header(raw: bytes) -> tuple[str, int, int]:
    """Return format, width and height of a compressed picture, without decoding it."""
    try:
        with PIL.Image.open(io.BytesIO(raw), formats=_FORMATS) as picture:
            return str(picture.format), picture.width, picture.height
    except PIL.Image.DecompressionBombError as error:
        raise ImageError('size', f'the compressed image is refused: {error}') from error
    except PIL.UnidentifiedImageError as error:
        raise ImageError(
            'compressed format',
            f'the data starts with {raw[:4].hex(" ")}: not a readable JPEG, PNG or WebP',
        ) from error
    except Exception as error:  # Pillow's parsers raise whatever a broken file leads them to
        raise ImageError(
            'broken data', f'the header of the compressed image is broken: {error}') from error


def _decode(data: Bgr, flags: int) -> Pixels:
    try:
        pixels = cv2.imdecode(data, flags)
    except cv2.error as error:
        raise ImageError(
            'broken data', f'the compressed image cannot be decoded: {error.err}') from error
    if pixels is None:
        raise ImageError(
            'broken data', f'the compressed image of {data.size} bytes cannot be decoded')
    return pixels
