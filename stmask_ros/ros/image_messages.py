# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Pictures to camera messages, by the ways of filling `data` that are fast on every ROS 2."""

from __future__ import annotations

import array
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header


def from_bgr(picture: npt.NDArray[np.uint8], header: Header) -> Image:
    """Return the bgr8 message of a uint8 [height, width, 3] picture; ValueError otherwise."""
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(
            f'expected a uint8 [height, width, 3] picture, got {picture.dtype} '
            f'{list(picture.shape)}')
    height, width, _ = picture.shape
    message = Image(
        header=header, height=height, width=width, encoding='bgr8', step=width * 3)
    fill(message, np.ascontiguousarray(picture))
    return message


def compressed_from_bgr(
    picture: npt.NDArray[np.uint8], header: Header, quality: int = 90
) -> CompressedImage:
    """Return the JPEG message of a uint8 BGR [height, width, 3] picture; quality: 1 to 100."""
    _, data = cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return compressed_from_bytes(data, header, 'bgr8; jpeg compressed bgr8')


def compressed_from_bytes(data: Any, header: Header, format_text: str) -> CompressedImage:
    """Return the message of a picture that is compressed already; data: bytes or uint8 array."""
    message = CompressedImage(header=header, format=format_text)
    fill(message, data)
    return message


def fill(message: Any, data: Any) -> None:
    """
    Copy a contiguous buffer into a message's empty uint8[] `data`.

    Appending to the array that is there runs no check of every single byte, which the field's
    setter does on some distributions (a second for one large picture).
    """
    values: array.array[int] = message.data
    values.frombytes(memoryview(data).cast('B'))
