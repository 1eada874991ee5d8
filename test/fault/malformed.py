# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Malformed camera messages, without end: what a broken driver, or an attacker, may send."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from stmask_ros.images import ImageError
from stmask_ros.images.raw import _PACKED, _PLANAR

TAKEN = 'taken'
ENCODINGS = [
    *_PACKED, *_PLANAR, '8UC2', '16SC1', '16UC1', '32FC1', '32FC3', '64FC1', '', 'bgr', 'BGR8',
    ' bgr8', 'bayer_rggb12', 'rgb8; jpeg', '%s%n', '../bgr8', '\u2603', 'x' * 300]
SIZES = [0, 1, 2, 3, 4, 5, 16, 17, 640, 65535, 2**31, 2**32 - 1]
DATA_SIZES = [0, 1, 47, 48, 1000, 5000, 60_000]
FORMATS = [
    'jpeg', '', 'bayer_rggb8; jpeg compressed ', 'rgb8; png compressed bgr8', ';;', 'png', 'webp',
    '16UC1; compressedDepth', '16UC1; png compressed ', 'x' * 300]

SUFFIXES = ('.jpg', '.png', '.webp', '.tiff')


def outcome(convert: Callable[[Any], np.ndarray], message: Any) -> str:
    """Return the reason of the refusal, or TAKEN; nothing but ImageError may come out."""
    try:
        picture = convert(message)
    except ImageError as error:
        refusal = error
    else:
        assert picture.dtype == np.uint8
        assert picture.ndim == 3
        assert picture.shape[2] == 3
        return TAKEN
    assert 10 < len(str(refusal)) < 800
    return refusal.reason


def raw_images(seed: int) -> Iterator[SimpleNamespace]:
    """Yield the fields of images: one in two has sides of up to 65535 or more, one small ones."""
    generator = np.random.default_rng(seed)
    while True:
        width, height, step = (int(n) for n in generator.choice(SIZES, 3))
        if generator.random() < 0.5:
            width, height = (int(n) for n in generator.integers(1, 20, 2))
            step = width * int(generator.integers(1, 9)) + int(generator.integers(0, 3))
        yield SimpleNamespace(
            width=width, height=height, step=step, encoding=str(generator.choice(ENCODINGS)),
            is_bigendian=int(generator.integers(0, 256)),
            data=_values(generator, int(generator.choice(DATA_SIZES))))


def _values(generator: np.random.Generator, size: int) -> bytes:
    """Return random bytes, or now and then floats that are no numbers."""
    if generator.random() < 0.1:
        value = generator.choice([np.nan, np.inf, -np.inf])
        return np.full(size // 4, value, np.float32).tobytes()
    return generator.bytes(size)


def compressed_images(seed: int) -> Iterator[SimpleNamespace]:
    """Yield format and data: files that are cut off, changed, of no known kind, or far too big."""
    generator = np.random.default_rng(seed)
    picture = generator.integers(0, 256, (24, 32, 3), np.uint8)
    files = [cv2.imencode(suffix, picture)[1].tobytes() for suffix in SUFFIXES]
    kinds = (_changed, _cut_off, _flipped, _wrong_magic, _claimed_size)
    while True:
        kind = kinds[int(generator.integers(0, len(kinds)))]
        file = files[1] if kind is _claimed_size else files[int(generator.integers(0, len(files)))]
        yield SimpleNamespace(
            format=FORMATS[int(generator.integers(0, len(FORMATS)))],
            data=np.frombuffer(kind(file, generator), np.uint8))


def _changed(data: bytes, generator: np.random.Generator) -> bytes:
    """Return a file with some bytes changed, cut out, or put in twice."""
    bytes_ = bytearray(data)
    for _ in range(int(generator.integers(1, 6))):
        place = int(generator.integers(0, min(len(bytes_), int(generator.choice([40, 4000])))))
        kind = generator.integers(0, 4)
        if kind == 0:
            bytes_[place] = int(generator.integers(0, 256))
        elif kind == 1:
            bytes_[place:place + 4] = b'\xff' * 4
        elif kind == 2:
            del bytes_[place:place + int(generator.integers(1, 50))]
        else:
            bytes_[place:place] = bytes_[place:place + 9]
        if len(bytes_) < 2:
            break
    return bytes(bytes_)


def _cut_off(data: bytes, generator: np.random.Generator) -> bytes:
    # One in eleven is empty.
    return data[:max(0, int(generator.integers(-len(data) // 10, len(data))))]


def _flipped(data: bytes, generator: np.random.Generator) -> bytes:
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    bits[generator.integers(0, bits.size, int(generator.integers(1, 9)))] ^= 1
    return np.packbits(bits).tobytes()


def _wrong_magic(data: bytes, generator: np.random.Generator) -> bytes:
    return generator.bytes(int(generator.integers(1, 13))) + data[12:]


def _claimed_size(data: bytes, generator: np.random.Generator) -> bytes:
    """Return a PNG whose header claims some size, checksum and all."""
    return claiming(data, *(int(n) for n in generator.choice([0, 8193, 20_000, 60_000, 2**31], 2)))


def claiming(png: bytes, width: int, height: int) -> bytes:
    """Return a grey PNG's bytes under a header that claims another size, checksum and all."""
    chunk = b'IHDR' + struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)
    return png[:12] + chunk + struct.pack('>I', zlib.crc32(chunk)) + png[33:]
