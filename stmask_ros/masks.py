# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Instance masks as tight regions, and their encodings. No ROS, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from stmask_ros.run_lengths import MAXIMUM_PIXELS, MOST_CHARACTERS, decode_spans

BoolArray = npt.NDArray[np.bool_]
Float32Array = npt.NDArray[np.float32]
Int64Array = npt.NDArray[np.int64]

# Of all masks of one message [pixel]: 100 objects that each fill a picture of 4K.
MAXIMUM_PIXELS_IN_ALL = 1 << 30


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

    def within(self, visible: BoolArray) -> RegionMask:
        """Return what is left of the mask where bool [image height, image width] is true."""
        bottom, right = self.y_offset + self.height, self.x_offset + self.width
        here = visible[self.y_offset:bottom, self.x_offset:right]
        if here.all():
            return self
        left = RegionMask.from_full(self.pixels & here)
        if not left.pixels.size:
            return left
        return RegionMask(
            self.x_offset + left.x_offset, self.y_offset + left.y_offset, left.pixels)

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
            (region,) = _from_runs([raw], [(height, width)])
            return cls(x_offset, y_offset, region)
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


def _from_runs(texts: Sequence[bytes], sizes: Sequence[tuple[int, int]]) -> list[BoolArray]:
    """Return the pixels of COCO_RLE regions of these heights and widths."""
    for text, (height, width) in zip(texts, sizes, strict=True):
        if len(text) > MOST_CHARACTERS * (height * width + 1):
            raise ValueError(
                f'COCO_RLE: {len(text)} bytes are more than {height}x{width} pixels can need')
    shapes = np.array(sizes, np.int64).reshape(-1, 2)
    spans, counts, _ = decode_spans(texts, shapes, exact=True)
    areas = shapes.prod(axis=1)
    ends = areas.cumsum()
    starts = ends - areas
    # From each edge to the next, pixels are outside, inside, and so on, through all regions.
    edges = np.concatenate((
        [0], (spans + starts.repeat(counts)[:, None]).ravel(), ends[-1:]))
    pixels = np.repeat(np.arange(edges.size - 1) % 2 == 1, edges[1:] - edges[:-1])
    return [
        # As in RegionMask.encode.
        cv2.transpose(pixels[start:end].view(np.uint8).reshape(width, height)).view(bool)
        for start, end, (height, width) in zip(
            starts.tolist(), ends.tolist(), sizes, strict=False)
    ]


def decode(mask: Any) -> RegionMask:
    """Return the RegionMask of an InstanceMask message (of rclpy or of rosbags)."""
    return RegionMask.decode(
        mask.encoding, mask.x_offset, mask.y_offset, mask.width, mask.height, mask.data
    )


def check_total(masks: Sequence[Any]) -> None:
    """Raise ValueError if InstanceMask messages have more than MAXIMUM_PIXELS_IN_ALL."""
    pixels = sum(mask.width * mask.height for mask in masks)
    if pixels > MAXIMUM_PIXELS_IN_ALL:
        raise ValueError(
            f'masks of {pixels} pixels in all are too large: expected at most '
            f'{MAXIMUM_PIXELS_IN_ALL}')


def decode_all(masks: Sequence[Any]) -> list[RegionMask]:
    """
    Return the RegionMasks of the InstanceMask messages of one image, run lengths in one go.

    Raises ValueError as decode and check_total do.
    """
    check_total(masks)
    of_runs = [
        index for index, mask in enumerate(masks)
        if mask.encoding == MaskEncoding.COCO_RLE and mask.width and mask.height
    ]
    sizes = [(masks[index].height, masks[index].width) for index in of_runs]
    for size in sizes:
        _check_size(*size)
    pixels = _from_runs([bytes(masks[index].data) for index in of_runs], sizes)
    regions = {
        index: RegionMask(masks[index].x_offset, masks[index].y_offset, region)
        for index, region in zip(of_runs, pixels, strict=True)
    }
    return [
        regions[index] if index in regions else decode(mask) for index, mask in enumerate(masks)
    ]
