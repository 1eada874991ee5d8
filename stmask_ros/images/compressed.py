# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Compressed camera messages, packed raw images and picture files, to pictures. Needs no ROS.

The size is read from the file's header before anything is decoded, so that a few bytes that claim
to be a huge picture cannot take the memory. See stmask_ros.images.zstd for the packed ones.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
import PIL.Image

from stmask_ros.images import zstd
from stmask_ros.images.jpeg import is_whole
from stmask_ros.images.raw import (
    Bgr,
    ImageError,
    Picture,
    Pixels,
    SeenSize,
    check_no_data,
    check_pixel_count,
    demosaic,
    eight_bits,
    raw_has_colour,
    raw_picture,
    reduction,
)

_FORMATS = ('JPEG', 'PNG', 'TIFF', 'WEBP')
_FILE_FORMATS = (*_FORMATS, 'BMP')

# Pillow calls a JPEG with more pictures behind the first an MPO.
_JPEGS = ('JPEG', 'MPO')

# 'ORIG_PIXFMT; CODEC compressed [COMPRESSED_PIXFMT]', as CompressedImage's text has it.
_PATTERN = re.compile(r'\s*(\w+)\s*;\s*\w+\s+compressed\b\s*(\w*)')
_GREY_MODES = ('1', 'L', 'I', 'I;16', 'I;16B')

# How OpenCV is told to decode a JPEG at a part of its size.
_REDUCED = {
    8: cv2.IMREAD_REDUCED_COLOR_8,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    2: cv2.IMREAD_REDUCED_COLOR_2,
}

@dataclass(frozen=True)
class _File:
    """What a compressed picture's header says; height, width: [pixel]."""

    kind: str
    height: int
    width: int
    is_grey: bool


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

    The file tells its depth and channels; 16-bit values are scaled by 255 / 65535. The format
    counts where it follows the documented pattern, as image_transport writes it: a grey file
    that holds a Bayer mosaic ('bayer_rggb8; jpeg compressed bayer_rggb8', or nothing behind
    'compressed') is demosaiced, depth is refused. Any other word is no matter. An orientation in
    EXIF is ignored, as the camera's calibration knows nothing of it. Raises ImageError.
    """
    return compressed_picture(message).pixels


def compressed_picture(
    message: CompressedImageMessage, seen_size: SeenSize | None = None
) -> Picture:
    """
    Return the picture of a sensor_msgs/CompressedImage, no finer than it is needed.

    seen_size: returns for the size of a whole picture, height and width [pixel], that at which it
    will be looked at; None for all there is. A JPEG of at least twice that size is decoded at a
    half, a quarter or an eighth of its own, which takes less time and averages what a coarse look
    at all pixels would skip. See compressed_to_bgr. Raises ImageError.
    """
    if is_packed(message):
        return raw_picture(zstd.unpacked(message.data))
    mosaic = _mosaic_encoding(message.format)
    data = np.frombuffer(message.data, np.uint8)
    file = _checked_header(data)
    if mosaic and file.is_grey:
        flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
        return Picture.whole(demosaic(_decode(data, flags), mosaic))
    size = (file.height, file.width)
    part = reduction(size, seen_size) if file.kind in _JPEGS else 1
    if part > 1:
        return Picture(_decode_colour(data, _REDUCED[part]), size)
    return Picture.whole(_decode_colour(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH))


def is_packed(message: CompressedImageMessage) -> bool:
    """Return whether a raw image was packed, as zstd_image_transport does: it is no file."""
    return message.format == zstd.FORMAT


def file_to_bgr(data: bytes, *, upright: bool) -> Bgr:
    """
    Return the uint8 BGR [height, width, 3] picture of a JPEG, PNG, TIFF, WebP or BMP file.

    upright: whether to turn it as its EXIF says; else pixels are as they lie in the file. 16-bit
    values are scaled by 255 / 65535. Raises ImageError.
    """
    _checked_header(data, _FILE_FORMATS)
    orientation = 0 if upright else cv2.IMREAD_IGNORE_ORIENTATION
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | orientation
    return eight_bits(_decode(np.frombuffer(data, np.uint8), flags))


def compressed_size(data: Any) -> tuple[int, int]:
    """Return width and height [pixel] as the compressed file's header has them."""
    file = _checked_header(data)
    return file.width, file.height


def compressed_has_colour(message: CompressedImageMessage) -> bool:
    """Return whether a sensor_msgs/CompressedImage is in colour; ImageError if it is no image."""
    if is_packed(message):
        return raw_has_colour(zstd.header(message.data))
    mosaic = _mosaic_encoding(message.format)
    return bool(mosaic) or not _checked_header(message.data).is_grey


def _checked_header(data: Any, formats: tuple[str, ...] = _FORMATS) -> _File:
    """Return what the header says; ImageError if decoding the rest would be no good."""
    raw = bytes(data)
    if not raw:
        raise ImageError('short data', 'the compressed image is empty')
    file = _header(raw, formats)
    check_pixel_count(file.width, file.height)
    if file.kind in _JPEGS and not is_whole(raw):
        raise ImageError('broken data', f'the JPEG of {len(raw)} bytes is cut off before its end')
    return file


def _mosaic_encoding(format_text: str) -> str:
    """
    Return the Bayer encoding of the file if it is grey, '' if it is no mosaic.

    Raises ImageError for depth.
    """
    if 'compressedDepth' in format_text:
        raise ImageError(
            'compressed format', "format 'compressedDepth' is a depth image: use a colour topic")
    check_no_data(format_text.partition(';')[0].strip())
    parts = _PATTERN.match(format_text)
    if parts is None:
        return ''
    before, within = parts.groups()
    encoding = within or before
    return encoding if encoding.startswith('bayer_') else ''


def _header(raw: bytes, formats: tuple[str, ...]) -> _File:
    """Return what the header of a compressed picture says, without decoding it."""
    try:
        with PIL.Image.open(io.BytesIO(raw), formats=formats) as picture:
            is_grey = picture.mode in _GREY_MODES
            return _File(str(picture.format), picture.height, picture.width, is_grey)
    except PIL.Image.DecompressionBombError as error:
        raise ImageError('size', f'the compressed image is refused: {error}') from error
    except PIL.UnidentifiedImageError as error:
        raise ImageError(
            'compressed format',
            f'the data starts with {raw[:4].hex(" ")}: not a readable {_listed(formats)}',
        ) from error
    except Exception as error:  # Pillow's parsers raise whatever a broken file leads them to
        raise ImageError(
            'broken data', f'the header of the compressed image is broken: {error}') from error


def _listed(formats: tuple[str, ...]) -> str:
    names = [name.replace('WEBP', 'WebP') for name in formats]
    return f'{", ".join(names[:-1])} or {names[-1]}'


def _decode_colour(data: Bgr, flag: int) -> Bgr:
    return eight_bits(_decode(data, flag | cv2.IMREAD_IGNORE_ORIENTATION))


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
