"""Instance masks as tight regions, and their encodings. No ROS, no torch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

BoolArray = npt.NDArray[np.bool_]


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
            columns_first = np.asfortranarray(self.pixels, dtype=np.uint8)
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
        Raises ValueError if the encoding is unknown or NONE, or the data does not fill the region.
        """
        kind = MaskEncoding(encoding)
        if width == 0 or height == 0:
            return cls.empty()
        if kind is MaskEncoding.NONE:
            raise ValueError('the message carries no mask (encoding NONE)')
        raw = bytes(data)
        shape = (height, width)
        if kind is MaskEncoding.COCO_RLE:
            pixels = coco_mask.decode({'size': list(shape), 'counts': raw}).astype(bool)
            return cls(x_offset, y_offset, pixels)
        flat = np.frombuffer(raw, np.uint8)
        if kind is MaskEncoding.BITPACK:
            flat = np.unpackbits(flat)[:height * width]
        if flat.size != height * width:
            raise ValueError(f'{kind.name}: expected {height * width} pixels, got {flat.size}')
        return cls(x_offset, y_offset, flat.reshape(shape) != 0)


def decode(mask: Any) -> RegionMask:
    """Return the RegionMask of an InstanceMask message (of rclpy or of rosbags)."""
    return RegionMask.decode(
        mask.encoding, mask.x_offset, mask.y_offset, mask.width, mask.height, mask.data
    )
