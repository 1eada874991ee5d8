# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Images as users give them and as a network sees them, and pictures with their objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from stmask_ros.families.errors import InvalidImageError

# uint8 BGR [H, W, 3].
Image: TypeAlias = npt.NDArray[np.uint8]
# Height and width [pixel].
Size: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class Geometry:
    """
    Where an image lies in its network's input.

    image: size of the image as it was given. scaled: of the same image as the network sees it,
    at the top left of its input. padded: of that input, with zeros to the right and below.
    """

    image: Size
    scaled: Size
    padded: Size


@dataclass(frozen=True)
class ScaledImage:
    """
    An image at the size at which its network sees it, on the host.

    pixels: uint8 BGR [*geometry.scaled, 3].
    """

    pixels: Image
    geometry: Geometry


@dataclass(frozen=True)
class AnnotatedFrame:
    """
    One picture.

    image: uint8 BGR [H, W, 3]. masks: bool [N, H, W], the visible part of each object.
    labels: int64 [N], 1 is the model's first class. ids: int64 [N], >= 1, of the object in its
    video.
    """

    image: Image
    masks: npt.NDArray[np.bool_]
    labels: npt.NDArray[np.int64]
    ids: npt.NDArray[np.int64]


def check_image(image: Image) -> None:
    """Raise InvalidImageError unless image is uint8 [H, W, 3] with at least one pixel."""
    if not isinstance(image, np.ndarray):
        raise InvalidImageError(f'expected a uint8 array [H, W, 3], got {type(image).__name__}')
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise InvalidImageError(
            f'expected uint8 [H, W, 3] with H, W >= 1, got {image.dtype} {list(image.shape)}'
        )


def padded_to(size: Size, stride: int) -> Size:
    """Return the size with both sides rounded up to multiples of the stride."""
    height, width = size
    return -(-height // stride) * stride, -(-width // stride) * stride
