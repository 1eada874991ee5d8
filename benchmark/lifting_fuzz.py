# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Lift thousands of wrong depth images, clouds, calibrations, masks and transforms.

    python benchmark/lifting_fuzz.py [--cases 5000]

Prints how many were lifted and how many were refused, by reason. Anything but a LiftingError ends
it with a traceback.
"""

from __future__ import annotations

import argparse
from collections import Counter
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from stmask_ros.lifting.errors import LiftingError
from stmask_ros.lifting.measurement import Sensor
from stmask_ros.lifting.pipeline import Geometry, LiftingPipeline
from stmask_ros.lifting.tracks import Motion
from stmask_ros.lifting.transforms import Transform

WIDTH, HEIGHT = 64, 48
NUMBERS = (0, 1, -1, 3, 255, 65535, 2**31, 2**32 - 1, 1 << 40)
REALS = (0.0, -1.0, 1e-30, 1e30, float('nan'), float('inf'), -float('inf'), 50.0)
WORDS = ('', 'bgr8', '16UC1', '32FC1', 'mono8', 'plumb_bob', 'equidistant', 'x' * 500, '\u2603')


class WildTransforms:
    """Knows transforms that are late, missing, jumping, absurd, or right."""

    def __init__(self, random: np.random.Generator) -> None:
        """Draw from `random`."""
        self._random = random

    def lookup(self, _target: str, _source: str, stamp: int) -> Transform:
        """Return some transform, see stmask_ros.lifting.transforms.Transforms."""
        kind = self._random.integers(5)
        if kind == 0:
            raise LiftingError('no transform', f'not known at {stamp} ns')
        turn = self._random.normal(size=4)
        if kind != 1:
            turn /= np.linalg.norm(turn)
        scale = (1.0, 1e3, 1e12)[kind % 3]
        return Transform.from_numbers(self._random.normal(size=3) * scale, turn)


def good_messages(random: np.random.Generator, number: int) -> dict[str, Any]:
    """Return messages of a pair, all right."""
    stamp = SimpleNamespace(sec=1000 + number, nanosec=0)
    header = SimpleNamespace(stamp=stamp, frame_id='camera')
    millimetres = random.integers(500, 5000, (HEIGHT, WIDTH)).astype('<u2')
    source = SimpleNamespace(stamp=stamp, frame_id=random.choice(['camera', 'other']))
    depth = SimpleNamespace(
        header=source, height=HEIGHT, width=WIDTH, step=2 * WIDTH, encoding='16UC1',
        is_bigendian=0, data=millimetres.tobytes())
    points = random.normal(size=(500, 4)).astype('<f4') * 3
    cloud = SimpleNamespace(
        header=source, height=1, width=500, point_step=16, row_step=8000, is_bigendian=False,
        fields=[SimpleNamespace(name=name, offset=4 * place, datatype=7, count=1)
                for place, name in enumerate('xyz')], data=points.tobytes())
    instances = SimpleNamespace(
        header=header, image_width=WIDTH, image_height=HEIGHT, epoch=1, sequence=number,
        instances=[_instance(random, track_id) for track_id in (1, 2, 7)])
    compressed = SimpleNamespace(
        header=source, **random.choice([_png(millimetres), _rvl(millimetres)]))
    return {
        'instances': instances, 'depth': random.choice([depth, depth, cloud, compressed]),
        'depth_info': _info(), 'image_info': _info()}


def _png(depth: np.ndarray) -> dict[str, Any]:
    data = bytes(12) + cv2.imencode('.png', depth)[1].tobytes()
    return {'format': '16UC1; compressedDepth png', 'data': data}


def _rvl(depth: np.ndarray) -> dict[str, Any]:
    """Return one run of depths, each difference in seven nibbles, though most need fewer."""
    steps = np.diff(depth.ravel().astype(np.int64), prepend=0)
    numbers = np.concatenate([[0, depth.size], 2 * np.abs(steps) - (steps < 0)])
    nibbles = numbers[:, None] >> 3 * np.arange(7) & 7 | [8, 8, 8, 8, 8, 8, 0]
    nibbles = np.pad(nibbles.ravel(), (0, -nibbles.size % 8)).reshape(-1, 8)
    words = (nibbles << np.arange(28, -1, -4)).sum(axis=1).astype('<u4')
    size = np.array(depth.shape[::-1], '<i4')
    return {'format': '16UC1; compressedDepth rvl',
            'data': bytes(12) + size.tobytes() + words.tobytes()}


def _instance(random: np.random.Generator, track_id: int) -> Any:
    pixels = random.random((12, 20)) < 0.9
    mask = SimpleNamespace(
        encoding=2, x_offset=int(random.integers(0, 40)), y_offset=int(random.integers(0, 30)),
        width=20, height=12, data=np.packbits(pixels).tobytes())
    return SimpleNamespace(
        track_id=track_id, state=int(random.integers(1, 5)), class_id=1, class_name='', score=0.5,
        mask=mask)


def _info() -> Any:
    roi = SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0, do_rectify=False)
    return SimpleNamespace(
        width=WIDTH, height=HEIGHT, distortion_model='plumb_bob', d=[0.1, -0.05, 0.0, 0.0, 0.0],
        k=[60.0, 0, 31.5, 0, 60.0, 23.5, 0, 0, 1], p=[60.0, 0, 31.5, 0, 0, 60.0, 23.5, 0, 0, 0, 1,
                                                      0], binning_x=0, binning_y=0, roi=roi)


def spoil(messages: dict[str, Any], random: np.random.Generator) -> None:
    """Change a few fields of the messages to what no sane publisher sends."""
    for _ in range(int(random.integers(1, 4))):
        owner = messages[random.choice(list(messages))]
        parts = [owner, *getattr(owner, 'fields', []), *getattr(owner, 'instances', [])]
        parts += [part.mask for part in parts if hasattr(part, 'mask')]
        parts += [owner.roi] if hasattr(owner, 'roi') else []
        part = parts[int(random.integers(len(parts)))]
        name = random.choice([key for key in vars(part) if key not in (
            'header', 'roi', 'mask', 'fields', 'instances')])
        setattr(part, name, _wild(getattr(part, name), random))
    if random.random() < 0.05:
        messages[random.choice(['depth_info', 'image_info'])] = None


def _wild(value: Any, random: np.random.Generator) -> Any:
    if isinstance(value, bytes):
        cut = bytearray(value[:int(random.integers(0, len(value) + 1))])
        if cut:
            cut[int(random.integers(len(cut)))] ^= int(random.integers(1, 256))
        return bytes(cut)
    if isinstance(value, str):
        return WORDS[int(random.integers(len(WORDS)))]
    if isinstance(value, list):
        changed = [float(item) for item in value] or [0.0]
        changed[int(random.integers(len(changed)))] = REALS[int(random.integers(len(REALS)))]
        return changed[:int(random.integers(0, len(changed) + 1))] if random.random() < .2 else (
            changed)
    if isinstance(value, float):
        return REALS[int(random.integers(len(REALS)))]
    return NUMBERS[int(random.integers(len(NUMBERS)))]


def fuzz(cases: int, seed: int = 0) -> Counter[str]:
    """Return what became of so many spoilt pairs."""
    random = np.random.default_rng(seed)
    outcomes: Counter[str] = Counter()
    pipelines = [
        LiftingPipeline(Sensor(), Motion(), Geometry(fixed_frame=frame), WildTransforms(random))
        for frame in ('', 'odom')]
    for number in range(cases):
        messages = good_messages(random, number)
        spoil(messages, random)
        try:
            lifted = pipelines[number % 2].lift(**messages).lifted
        except LiftingError as error:
            outcomes[error.reason] += 1
            continue
        outcomes['lifted'] += 1
        # What is said to be measured is finite; nothing is made up.
        assert np.isfinite(lifted.positions[lifted.measured]).all()
        assert np.isfinite(lifted.covariances[lifted.measured]).all()
    return outcomes


def main() -> None:
    """Print the outcomes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--cases', type=int, default=5000)
    outcomes = fuzz(parser.parse_args().cases)
    for outcome, count in outcomes.most_common():
        print(f'{outcome:24} {count:6d}')
    print(f'{"all":24} {outcomes.total():6d}')


if __name__ == '__main__':
    main()
