# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A small scene for the lifter's tests: a box that stands, a ball that moves, a moving camera."""

from __future__ import annotations

from stmask_ros.lifting.camera import Calibration
from stmask_ros.lifting.transforms import Transform
from stmask_ros.sources.rgbd_scene import Scene, Shape, looking

CAMERA = Calibration(160, 120, 150.0, 150.0, 79.5, 59.5)


def _pose(seconds: float) -> Transform:
    # Back and forth, so that the same scene serves for any stamp.
    shift = 0.1 * (seconds % 2.0)
    return looking((shift, 0.0, 1.0), (4.0, 0.05, 0.6))


SCENE = Scene((
    Shape('box', (3.0, 0.5, 0.4), (0.6, 0.5, 0.8), 0.5, (0.0, 0.0, 0.0), (9, 9, 200), 'box'),
    Shape('sphere', (2.5, -0.5, 0.4), (0.6, 0.6, 0.6), 0.0, (0.0, 0.0, 0.0), (200, 9, 9), 'ball'),
), CAMERA, _pose)
