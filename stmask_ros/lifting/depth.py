# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Depth images: sensor_msgs/Image in 16UC1 and 32FC1, as REP 118 has them.

Works on messages of rclpy and of rosbags alike. A message that cannot be read raises LiftingError,
and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stmask_ros.lifting.errors import LiftingError

Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

_TYPES = {'16UC1': 'u2', 'mono16': 'u2', '32FC1': 'f4'}
_METRES = {'u2': 1e-3, 'f4': 1.0}

# More than any depth camera has.
MAX_PIXELS = 16 * 1024 * 1024


@dataclass(frozen=True)
class DepthImage:
    """
    A depth image in the unit it was sent in; a view into the message where that is possible.

    pixels: [height, width], uint16 millimetres with 0 = invalid, or float32 metres along the
    optical axis with NaN, infinity, 0 and less = invalid.
    """

    pixels: npt.NDArray[Any]

    def __post_init__(self) -> None:
        """Raise ValueError for another shape or dtype."""
        if self.pixels.ndim != 2 or self.pixels.dtype not in (np.uint16, np.float32):
            raise ValueError(
                'depth: expected uint16 or float32 [height, width], '
                f'got {self.pixels.dtype} {list(self.pixels.shape)}')

    @property
    def size(self) -> tuple[int, int]:
        """Height and width [pixel]."""
        height, width = self.pixels.shape
        return height, width

    def metres(self, indices: npt.NDArray[np.intp] | None = None) -> Float32Array:
        """
        Return depths [m], 0 where there is none.

        indices: [N] of pixels, row by row; without them, all depths [height, width].
        """
        values = self.pixels if indices is None else self.pixels.take(indices)
        if values.dtype == np.uint16:
            return values * np.float32(_METRES['u2'])
        return np.where(np.isfinite(values) & (values > 0), values, np.float32(0))

    def without(self, excluded: BoolArray) -> DepthImage:
        """Return a copy whose excluded pixels [height, width] are invalid: 0 or NaN."""
        nothing = 0 if self.pixels.dtype == np.uint16 else np.nan
        pixels = self.pixels.copy()
        pixels[excluded] = nothing
        return DepthImage(pixels)


def read_depth(message: Any) -> DepthImage:
    """Return the depth of a sensor_msgs/Image; LiftingError if it holds none."""
    height, width, step = int(message.height), int(message.width), int(message.step)
    kind = _TYPES.get(message.encoding)
    if kind is None:
        raise LiftingError('depth encoding', (
            f"encoding '{str(message.encoding)[:40]}' is no depth: expected 16UC1 (millimetres) "
            'or 32FC1 (metres)'))
    check_size(height, width)
    size = int(kind[1])
    if step < width * size:
        raise LiftingError('depth step', (
            f'step is {step} bytes, but a row of {width} pixels in {message.encoding} takes '
            f'{width * size}'))
    data = np.frombuffer(message.data, np.uint8)
    needed = step * (height - 1) + width * size
    if data.size < needed:
        raise LiftingError('short depth data', (
            f'the depth image has {data.size} bytes of data; {width}x{height} in '
            f'{message.encoding} with a step of {step} needs {needed}'))
    order = '>' if message.is_bigendian else '<'
    pixels = np.ndarray((height, width), f'{order}{kind}', data, strides=(step, size))
    return DepthImage(pixels.astype(kind, copy=False))


def check_size(height: int, width: int) -> None:
    """Raise LiftingError if a depth image has no pixels, or more than MAX_PIXELS."""
    if height <= 0 or width <= 0 or height * width > MAX_PIXELS:
        raise LiftingError('depth size', (
            f'the depth image is {width}x{height}: expected 1 to {MAX_PIXELS} pixels'))
