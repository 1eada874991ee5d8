# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Camera messages to pictures, raw or compressed. Needs no ROS."""

from typing import Any

from stmask_ros.images.compressed import (
    compressed_has_colour,
    compressed_picture,
    compressed_size,
    compressed_to_bgr,
    file_to_bgr,
)
from stmask_ros.images.raw import (
    ImageError,
    NoPictureError,
    Picture,
    SeenSize,
    raw_has_colour,
    raw_picture,
    to_bgr,
)


def has_colour(message: Any, *, compressed: bool) -> bool:
    """Return whether an image is in colour; ImageError if it is no picture. Decodes nothing."""
    return compressed_has_colour(message) if compressed else raw_has_colour(message)


__all__ = [
    'ImageError', 'NoPictureError', 'Picture', 'SeenSize', 'compressed_picture', 'compressed_size',
    'compressed_to_bgr', 'file_to_bgr', 'has_colour', 'raw_picture', 'to_bgr',
]
