"""Instance masks as tight regions, and their encodings. No ROS, no torch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

BoolArray = npt.NDArray[np.bool_]
Float32Array = npt.NDArray[np.float32]
Int64Array = npt.NDArray[np.int64]

# A number of a compressed COCO string is written in digits of five bits, least significant first;
# a sixth bit says that more follow.
_DIGIT_BITS = 5
_MORE = 32
_MOST_DIGITS = 7

# Largest mask that is decoded [pixel], as in include/stmask_ros/mask_codec.hpp: a message cannot
# ask for more memory than this.
MAXIMUM_PIXELS = 1 << 28


class MaskEncoding(IntEnum):
    """Values of InstanceMask.encoding."""

    NONE = 0
    COCO_RLE = 1
    BITPACK = 2
    MONO8 = 3


@dataclass(frozen=True)
class RegionMask:
    """
    A mask inside its tight region of an image.

    x_offset, y_offset: left column and top row of the region [pixel of the image].
    pixels: bool [height, width] of the region; [0, 0] for an empty mask.
    """

    x_offset: int
    y_offset: int
    pixels: BoolArray

    def __post_init__(self) -> None:
        """Raise ValueError unless pixels is a 2-D bool array and the offsets are not negative."""
        if self.pixels.ndim != 2 or self.pixels.dtype != np.bool_:
            raise ValueError(
                f'mask pixels: expected bool [height, width], got {self.pixels.dtype} '
                f'{list(self.pixels.shape)}'
            )
        if self.x_offset < 0 or self.y_offset < 0:
            raise ValueError(f'mask offset ({self.x_offset}, {self.y_offset}) is negative')

    @classmethod
    def empty(cls) -> RegionMask:
        """Return a mask without pixels."""
        return cls(0, 0, np.zeros((0, 0), bool))

    @classmethod
    def from_full(cls, mask: BoolArray) -> RegionMask:
        """Cut the tight region out of a bool [image height, image width] mask."""
        rows = np.flatnonzero(mask.any(axis=1))
        if rows.size == 0:
            return cls.empty()
        top, bottom = int(rows[0]), int(rows[-1]) + 1
        columns = np.flatnonzero(mask[top:bottom].any(axis=0))
        left, right = int(columns[0]), int(columns[-1]) + 1
        return cls(left, top, mask[top:bottom, left:right].copy())

    @property
    def height(self) -> int:
        """Height of the region [pixel]."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Width of the region [pixel]."""
        return int(self.pixels.shape[1])

    @property
    def area(self) -> int:
        """Number of pixels inside the mask."""
        return int(np.count_nonzero(self.pixels))

    def to_full(self, image_height: int, image_width: int) -> BoolArray:
        """Return the bool [image_height, image_width] mask; ValueError if it does not fit."""
        _check_size(image_height, image_width)
        bottom, right = self.y_offset + self.height, self.x_offset + self.width
        if bottom > image_height or right > image_width:
            raise ValueError(
                f'region ends at row {bottom}, column {right}: outside the image of '
                f'{image_height}x{image_width}'
            )
        full = np.zeros((image_height, image_width), bool)
        full[self.y_offset:bottom, self.x_offset:right] = self.pixels
        return full

    def encode(self, encoding: MaskEncoding) -> bytes:
        """Return the region's pixels as InstanceMask.data in this encoding."""
        if encoding is MaskEncoding.NONE or self.pixels.size == 0:
            return b''
        if encoding is MaskEncoding.COCO_RLE:
            # OpenCV turns columns into rows six times as fast as NumPy.
            columns_first = cv2.transpose(self.pixels.view(np.uint8)).T
            return bytes(coco_mask.encode(columns_first)['counts'])
        if encoding is MaskEncoding.BITPACK:
            return np.packbits(self.pixels).tobytes()
        return (self.pixels.astype(np.uint8) * 255).tobytes()

    @classmethod
    def decode(
        cls, encoding: int, x_offset: int, y_offset: int, width: int, height: int, data: Any
    ) -> RegionMask:
        """
        Return the mask of the fields of an InstanceMask.

        data: bytes or anything with the buffer protocol (array.array, uint8 array).
        Raises ValueError if the encoding is unknown or NONE, the region has more than
        MAXIMUM_PIXELS, or the data does not fill it exactly. It refuses what
        include/stmask_ros/mask_codec.hpp refuses, and nothing else.
        """
        kind = MaskEncoding(encoding)
        if width == 0 or height == 0:
            return cls.empty()
        _check_size(height, width)
        if kind is MaskEncoding.NONE:
            raise ValueError('the message carries no mask (encoding NONE)')
        raw = bytes(data)
        if kind is MaskEncoding.COCO_RLE:
            return cls(x_offset, y_offset, _from_runs(raw, height, width))
        pixels = height * width
        expected = (pixels + 7) // 8 if kind is MaskEncoding.BITPACK else pixels
        if len(raw) != expected:
            raise ValueError(f'{kind.name}: expected {expected} bytes, got {len(raw)}')
        flat = np.frombuffer(raw, np.uint8)
        if kind is MaskEncoding.BITPACK:
            flat = np.unpackbits(flat, count=pixels)
        return cls(x_offset, y_offset, flat.reshape(height, width) != 0)


def _check_size(height: int, width: int) -> None:
    if height * width > MAXIMUM_PIXELS:
        raise ValueError(
            f'a mask of {height}x{width} pixels is too large: expected at most {MAXIMUM_PIXELS}'
        )


def run_lengths(counts: bytes) -> npt.NDArray[np.int64]:
    """
    Return the run lengths of a compressed COCO string, the first one of pixels outside.

    pycocotools reads them too, but trusts them: on damaged ones it writes outside its memory.
    Raises ValueError if the string is no such thing.
    """
    digits = np.frombuffer(counts, np.uint8).astype(np.int64) - ord('0')
    if digits.size == 0 or digits.min() < 0 or digits.max() >= 64 or digits[-1] & _MORE:
        raise ValueError('the run lengths are damaged: expected complete COCO numbers')
    last = np.flatnonzero((digits & _MORE) == 0)
    first = np.concatenate(([0], last[:-1] + 1))
    lengths = last - first + 1
    if lengths.max() > _MOST_DIGITS:
        raise ValueError('the run lengths are damaged: a number is too long')
    shift = _DIGIT_BITS * (np.arange(digits.size) - np.repeat(first, lengths))
    numbers = np.add.reduceat((digits & 31) << shift, first)
    numbers -= np.where(digits[last] & 16, 1 << (_DIGIT_BITS * lengths), 0)
    # From the fourth on, a number is the difference to the run two before.
    numbers[1::2] = numbers[1::2].cumsum()
    numbers[2::2] = numbers[2::2].cumsum()
    return numbers


def _from_runs(counts: bytes, height: int, width: int) -> BoolArray:
    pixels = height * width
    # Looked at one by one before they are added up: a sum can be made to wrap.
    runs = run_lengths(counts[:_MOST_DIGITS * (pixels + 1) + 1])
    if runs.size > pixels + 1:
        raise ValueError(f'COCO_RLE: there are more runs than {pixels} pixels can have')
    if runs.min() < 0 or runs.max() > pixels or runs.sum() != pixels:
        raise ValueError(
            f'COCO_RLE: expected runs of {pixels} pixels in all, got lengths from {runs.min()} to '
            f'{runs.max()}'
        )
    columns_first = np.repeat(np.arange(runs.size) % 2 == 1, runs)
    return np.ascontiguousarray(columns_first.reshape(width, height).T)


def decode(mask: Any) -> RegionMask:
    """Return the RegionMask of an InstanceMask message (of rclpy or of rosbags)."""
    return RegionMask.decode(
        mask.encoding, mask.x_offset, mask.y_offset, mask.width, mask.height, mask.data
    )
