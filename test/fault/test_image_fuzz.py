# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Thousands of malformed images: only ImageError ever leaves the conversion, and memory holds."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

from malformed import compressed_images, outcome, raw_images

from stmask_ros.images import compressed_to_bgr, to_bgr


def test_raw():
    outcomes = {outcome(to_bgr, image) for image in itertools.islice(raw_images(20), 4000)}
    assert outcomes == {'encoding', 'size', 'step', 'short data', 'taken'}


def test_compressed():
    images = itertools.islice(compressed_images(21), 2000)
    outcomes = {outcome(compressed_to_bgr, image) for image in images}
    assert outcomes == {
        'broken data', 'compressed format', 'encoding', 'short data', 'size', 'taken'}


BOMBS = """
import resource, sys
from types import SimpleNamespace
import cv2, numpy as np
sys.path.append(sys.argv[1])
from malformed import claiming
from stmask_ros.images import ImageError, compressed_to_bgr
small = cv2.imencode('.png', np.zeros((8, 8), np.uint8))[1].tobytes()
compressed_to_bgr(SimpleNamespace(format='png', data=np.frombuffer(small, np.uint8)))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for side in (8193, 20000, 60000):
    bomb = np.frombuffer(claiming(small, side, side), np.uint8)
    try:
        compressed_to_bgr(SimpleNamespace(format='png', data=bomb))
        sys.exit('taken')
    except ImageError as error:
        assert error.reason == 'size', error
growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
assert growth < 8192, f'{growth} KiB for pictures that were refused'
"""


def test_a_decompression_bomb_takes_no_memory():
    """8193 x 8193 is just above the limit; decoded it would take 64 MiB and more."""
    here = Path(__file__).resolve().parent
    done = subprocess.run(
        [sys.executable, '-c', BOMBS, str(here)], cwd=here.parents[1], env=os.environ,
        capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
