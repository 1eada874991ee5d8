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
    Picture,
    Pixels,
    check_colour,
    check_pixel_count,
    demosaic,
)

_FORMATS = ('JPEG', 'PNG', 'WEBP')

# How many times shorter a JPEG's decoder can make the sides, which saves it most of its work.
_REDUCTIONS = (
    (8, cv2.IMREAD_REDUCED_COLOR_8),
    (4, cv2.IMREAD_REDUCED_COLOR_4),
    (2, cv2.IMREAD_REDUCED_COLOR_2),
)

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
    return compressed_picture(message).pixels


def compressed_picture(
    message: CompressedImageMessage, enough: tuple[int, int] | None = None
) -> Picture:
    """
    Return the picture of a sensor_msgs/CompressedImage, no finer than it is needed.

    enough: height and width [pixel] that will do; None for all there is. A JPEG of at least twice
    as many is decoded at a half, a quarter or an eighth of its size, which takes less time and
    averages what a coarse look at all pixels would skip. See compressed_to_bgr. Raises ImageError.
    """
    before = _encoding_before(message.format)
    data = np.frombuffer(message.data, np.uint8)
    kind, width, height = _checked_header(data)
    if before.startswith('bayer_'):
        mosaic = _decode(data, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH)
        return Picture.whole(demosaic(mosaic, before))
    if kind == 'JPEG' and enough is not None:
        for part, flag in _REDUCTIONS:
            if height >= part * enough[0] and width >= part * enough[1]:
                return Picture(_decode_colour(data, flag), (height, width))
    return Picture.whole(_decode_colour(data, cv2.IMREAD_COLOR))


def compressed_size(data: Any) -> tuple[int, int]:
    """Return width and height [pixel] as a JPEG, PNG or WebP file's header has them."""
    return _checked_header(data)[1:]


def _checked_header(data: Any) -> tuple[str, int, int]:
    """Return format, width and height; ImageError if decoding the rest would be no good."""
    raw = bytes(data)
    if not raw:
        raise ImageError('short data', 'the compressed image is empty')
    kind, width, height = _header(raw)
    check_pixel_count(width, height)
    if kind == 'JPEG' and _JPEG_END not in raw.rstrip(b'\0')[-_LONGEST_JPEG_TRAILER:]:
        raise ImageError('broken data', f'the JPEG of {len(raw)} bytes is cut off before its end')
    return kind, width, height


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


def _decode_colour(data: Bgr, flag: int) -> Bgr:
    return np.asarray(_decode(data, flag | cv2.IMREAD_IGNORE_ORIENTATION), np.uint8)


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
