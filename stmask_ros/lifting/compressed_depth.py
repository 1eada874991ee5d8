# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Depth as image_transport's compressedDepth writes it: PNG and RVL.

Twelve bytes come first: the kind of compression (int32) and the two parameters (float32) of the
inverse depth that 32FC1 is quantised to: depth = a / (value - b), 0 = invalid. Then follows a
16-bit PNG, or width and height (int32) and RVL (Wilson, "Fast Lossless Depth Image Compression",
ISS 2017).
"""

from __future__ import annotations

import io
import struct
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image

from stmask_ros.lifting.depth import DepthImage, check_size
from stmask_ros.lifting.errors import LiftingError

_HEADER = struct.Struct('<iff')
_RVL_HEADER = struct.Struct('<ii')
_NIBBLE_SHIFTS = np.arange(28, -1, -4, dtype=np.uint32)
_MORE = 8
_MOST_NIBBLES = 7
# So many times the step from run to run is doubled, before runs are looked for in such steps.
_DOUBLINGS = 5

UInt16Array = npt.NDArray[np.uint16]
Int64Array = npt.NDArray[np.int64]


def read_compressed_depth(message: Any) -> DepthImage:
    """Return the depth of a sensor_msgs/CompressedImage; LiftingError if it holds none."""
    encoding, separator, kind = str(message.format).partition(';')
    encoding = encoding.strip()
    if not separator or 'compressedDepth' not in kind or encoding not in ('16UC1', '32FC1'):
        raise LiftingError('depth encoding', (
            f"format '{message.format[:60]}' is no compressed depth: expected "
            "'16UC1; compressedDepth png', or 32FC1, or rvl"))
    data = bytes(message.data)
    if len(data) <= _HEADER.size:
        raise LiftingError('short depth data', (
            f'the compressed depth has {len(data)} bytes, its header alone takes {_HEADER.size}'))
    _, a, b = _HEADER.unpack_from(data)
    decode = _decode_rvl if kind.split()[-1] == 'rvl' else _decode_png
    values = decode(data[_HEADER.size:])
    return DepthImage(values if encoding == '16UC1' else _inverse(values, a, b))


def _inverse(values: UInt16Array, a: float, b: float) -> npt.NDArray[np.float32]:
    with np.errstate(all='ignore'):
        depth = np.float32(a) / (values.astype(np.float32) - np.float32(b))
    depth[values == 0] = np.nan
    return depth


def _decode_png(data: bytes) -> UInt16Array:
    try:
        with PIL.Image.open(io.BytesIO(data), formats=('PNG',)) as picture:
            check_size(picture.height, picture.width)
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except LiftingError:
        raise
    except Exception as error:  # Pillow's and OpenCV's parsers raise what a broken file leads to
        raise LiftingError('broken depth data', f'the PNG cannot be read: {error}') from error
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 2:
        found = 'nothing' if pixels is None else f'{pixels.dtype} {list(pixels.shape)}'
        raise LiftingError('broken depth data', (
            f'the PNG holds {found}: expected 16 bits and one channel'))
    return np.asarray(pixels, np.uint16)


def _decode_rvl(data: bytes) -> UInt16Array:
    if len(data) < _RVL_HEADER.size:
        raise LiftingError('short depth data', 'the RVL data ends before its size')
    width, height = _RVL_HEADER.unpack_from(data)
    check_size(height, width)
    numbers = _numbers(data[_RVL_HEADER.size:])
    return _fill(numbers, height * width).reshape(height, width)


def _numbers(data: bytes) -> Int64Array:
    """Return the numbers of variable length: three bits a nibble, a fourth says that more come."""
    words = np.frombuffer(data[:len(data) // 4 * 4], '<u4')
    nibbles = ((words[:, None] >> _NIBBLE_SHIFTS) & 15).ravel().astype(np.int64)
    last = np.flatnonzero(nibbles < _MORE)
    if last.size == 0:
        raise LiftingError('broken depth data', 'the RVL data holds no number')
    first = np.concatenate(([0], last[:-1] + 1))
    lengths = last - first + 1
    if lengths.max() > _MOST_NIBBLES:
        raise LiftingError('broken depth data', 'a number of the RVL data is too long')
    nibbles = nibbles[:last[-1] + 1]
    shift = 3 * (np.arange(nibbles.size) - np.repeat(first, lengths))
    return np.add.reduceat((nibbles & 7) << shift, first)


def _fill(numbers: Int64Array, count: int) -> UInt16Array:
    """Return `count` depths: runs of zeros take turns with runs of differences."""
    starts, lengths, positions = _runs(numbers, count)
    total = int(lengths.sum())
    within = np.arange(total) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    coded = numbers[np.repeat(positions, lengths) + within]
    depths = np.cumsum((coded >> 1) ^ -(coded & 1))
    pixels = np.zeros(count, np.uint16)
    pixels[np.repeat(starts, lengths) + within] = depths.astype(np.uint16)
    return pixels


def _runs(numbers: Int64Array, count: int) -> tuple[Int64Array, Int64Array, Int64Array]:
    """Return of each run of depths: its first pixel, its length, and where its numbers begin."""
    heads = _run_heads(numbers)
    lengths = numbers[heads + 1]
    ends = np.cumsum(numbers[heads] + lengths)
    used = int(np.searchsorted(ends, count)) + 1
    if used > len(heads):
        raise LiftingError('short depth data', 'the RVL data ends before its last pixel')
    heads, lengths, ends = heads[:used], lengths[:used], ends[:used]
    if ends[-1] > count or heads[-1] + 2 + lengths[-1] > len(numbers):
        raise LiftingError('broken depth data', 'the runs of the RVL data do not fit its size')
    return ends - lengths, lengths, heads + 2


def _run_heads(numbers: Int64Array) -> Int64Array:
    """
    Return where the two numbers at the head of each run are: how many zeros, how many depths.

    A run begins where the one before ends. With holes in the depth there is a run for every few
    pixels, too many to be found one after the other: if each number knows where the run after
    its own would begin, then also where the second does, the fourth, and so on.
    """
    count = len(numbers)
    next_heads = np.minimum(np.arange(2, count + 1) + numbers[1:], count)
    steps = [np.append(next_heads, (count, count)).astype(np.int32)]
    for _ in range(_DOUBLINGS):
        steps.append(steps[-1].take(steps[-1]))
    found = [0]
    while found[-1] < count:
        found.append(int(steps[-1][found[-1]]))
    heads = np.array(found)
    for step in reversed(steps[:-1]):
        heads = np.stack([heads, step.take(heads)], axis=1).ravel()
    return heads[heads < count - 1]
