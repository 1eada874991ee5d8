"""Thousands of malformed images: only ImageError ever leaves the conversion, and memory holds."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np

from stmask_ros.images import ImageError, compressed_to_bgr, to_bgr
from stmask_ros.images.raw import _PACKED, _PLANAR

ENCODINGS = [*_PACKED, *_PLANAR, '16UC1', '32FC1', '', 'bayer_rggb12', '\0', 'x' * 300]
SIZES = [0, 1, 2, 3, 4, 5, 16, 17, 640, 65535, 2**31, 2**32 - 1]


def outcome(convert, message):
    """Return the reason of the refusal, or 'taken' if there is a picture."""
    try:
        picture = convert(message)
    except ImageError as error:
        refusal = error
    else:
        check_picture(picture)
        return 'taken'
    assert 10 < len(str(refusal)) < 800
    return refusal.reason


def check_picture(picture):
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert picture.shape[2] == 3


def test_raw():
    generator = np.random.default_rng(20)
    outcomes = set()
    for _ in range(4000):
        width, height, step = (int(n) for n in generator.choice(SIZES, 3))
        if generator.random() < 0.5:
            width, height = (int(n) for n in generator.integers(1, 20, 2))
            step = width * int(generator.integers(1, 9)) + int(generator.integers(0, 3))
        message = SimpleNamespace(
            width=width, height=height, step=step, encoding=str(generator.choice(ENCODINGS)),
            is_bigendian=int(generator.integers(0, 256)),
            data=generator.bytes(int(generator.choice([0, 1, 47, 48, 1000, 5000]))))
        outcomes.add(outcome(to_bgr, message))
    assert outcomes == {'encoding', 'size', 'step', 'short data', 'taken'}


def mutated(data, generator):
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


def test_compressed():
    generator = np.random.default_rng(21)
    picture = generator.integers(0, 256, (24, 32, 3), np.uint8)
    files = [cv2.imencode(suffix, picture)[1].tobytes() for suffix in ('.jpg', '.png', '.webp')]
    formats = ['jpeg', '', 'bayer_rggb8; jpeg compressed ', 'rgb8; png compressed bgr8', ';;']
    outcomes = set()
    for index in range(750):
        message = SimpleNamespace(
            format=formats[int(generator.integers(0, 5))],
            data=np.frombuffer(mutated(files[index % 3], generator), np.uint8))
        outcomes.add(outcome(compressed_to_bgr, message))
    assert outcomes >= {'broken data', 'compressed format', 'taken'}


BOMBS = """
import resource, struct, sys, zlib
from types import SimpleNamespace
import cv2, numpy as np
from stmask_ros.images import ImageError, compressed_to_bgr
small = cv2.imencode('.png', np.zeros((8, 8), np.uint8))[1].tobytes()
compressed_to_bgr(SimpleNamespace(format='png', data=np.frombuffer(small, np.uint8)))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for side in (8193, 20000, 60000):
    chunk = b'IHDR' + struct.pack('>IIBBBBB', side, side, 8, 0, 0, 0, 0)
    bomb = small[:12] + chunk + struct.pack('>I', zlib.crc32(chunk)) + small[33:]
    try:
        compressed_to_bgr(SimpleNamespace(format='png', data=np.frombuffer(bomb, np.uint8)))
        sys.exit('taken')
    except ImageError as error:
        assert error.reason == 'size', error
growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
assert growth < 8192, f'{growth} KiB for pictures that were refused'
"""


def test_a_decompression_bomb_takes_no_memory():
    """8193 x 8193 is just above the limit; decoded it would take 64 MiB and more."""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, '-c', BOMBS], cwd=root, env=os.environ, capture_output=True, text=True,
        timeout=60, check=False)
    assert done.returncode == 0, done.stderr
