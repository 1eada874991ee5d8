# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Transforms between frames: at a stamp, between stamps, and never beyond them."""

from __future__ import annotations

import numpy as np
import pytest

from stmask_ros.lifting.errors import LiftingError
from stmask_ros.lifting.transform_buffer import TransformBuffer
from stmask_ros.lifting.transforms import Transform, turned

HALF = np.sqrt(0.5)
QUARTER_TURN = Transform.from_numbers((1.0, 2.0, 3.0), (0.0, 0.0, HALF, HALF))


def test_a_quarter_turn_about_z():
    point = np.array([[1.0, 0.0, 0.0]], np.float32)
    np.testing.assert_allclose(QUARTER_TURN.apply(point), [[1, 3, 3]], atol=1e-6)
    assert QUARTER_TURN.apply(point).dtype == np.float32
    back = QUARTER_TURN.inverse().after(QUARTER_TURN)
    assert back.is_identity and not QUARTER_TURN.is_identity
    spread = turned(np.diag([1.0, 2.0, 3.0])[None], QUARTER_TURN.rotation)
    np.testing.assert_allclose(spread[0], np.diag([2.0, 1.0, 3.0]), atol=1e-9)


@pytest.mark.parametrize(('translation', 'quaternion'), [
    ((0, 0, 0), (0, 0, 0, 0)), ((0, 0, 0), (1, 1, 1, 1)), ((np.nan, 0, 0), (0, 0, 0, 1)),
    ((1e9, 0, 0), (0, 0, 0, 1)), ((0, 0, 0), (np.nan, 0, 0, 1)),
])
def test_what_is_no_transform_is_refused(translation, quaternion):
    with pytest.raises(LiftingError) as caught:
        Transform.from_numbers(translation, quaternion)
    assert caught.value.reason == 'transform'


def moving() -> TransformBuffer:
    """Return map -> base (moving along x, turning about z) -> camera (static)."""
    buffer = TransformBuffer(seconds=10.0)
    for stamp in range(5):
        turn = 0.2 * stamp
        buffer.insert('map', 'base', stamp * 100, Transform.from_numbers(
            (stamp, 0, 0), (0, 0, np.sin(turn / 2), np.cos(turn / 2))))
    buffer.insert('base', 'camera', 0, Transform.from_numbers((0, 0, 1), (0, 0, 0, 1)), True)
    return buffer


@pytest.mark.parametrize('stamp', [0, 100, 150, 225, 400])
def test_between_stamps_it_is_interpolated(stamp):
    found = moving().lookup('map', 'camera', stamp)
    np.testing.assert_allclose(found.translation, [stamp / 100, 0, 1], atol=1e-9)
    turn = 0.2 * stamp / 100
    np.testing.assert_allclose(found.rotation[:2, 0], [np.cos(turn), np.sin(turn)], atol=1e-9)
    back = moving().lookup('camera', 'map', stamp)
    assert back.after(found).is_identity


@pytest.mark.parametrize(('target', 'source', 'stamp', 'text'), [
    ('map', 'camera', -1, 'not at -1 ns'),
    ('map', 'camera', 401, 'from 0 to 400 ns'),
    ('map', 'lidar', 100, "connects the frames 'lidar' and 'map'"),
])
def test_beyond_what_is_known_there_is_no_transform(target, source, stamp, text):
    with pytest.raises(LiftingError, match=text) as caught:
        moving().lookup(target, source, stamp)
    assert caught.value.reason == 'no transform'


def test_when_time_jumps_back_the_old_transforms_are_forgotten():
    buffer = TransformBuffer(seconds=1.0)
    buffer.insert('map', 'base', 100_000_000_000, Transform.identity())
    buffer.insert('map', 'base', 1_000_000_000, QUARTER_TURN)
    found = buffer.lookup('map', 'base', 1_000_000_000)
    np.testing.assert_allclose(found.translation, [1, 2, 3])
    with pytest.raises(LiftingError):
        buffer.lookup('map', 'base', 100_000_000_000)


def test_a_long_run_stays_small():
    buffer = TransformBuffer(seconds=1.0)
    for number in range(5000):
        buffer.insert('map', 'base', number * 10_000_000, Transform.identity())
    with pytest.raises(LiftingError, match='not at'):
        buffer.lookup('map', 'base', 4000 * 10_000_000)
    assert buffer.lookup('map', 'base', 4950 * 10_000_000).is_identity
