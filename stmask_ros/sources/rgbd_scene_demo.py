# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The scene of the demo with depth: cutouts of photographs, a box, a ball and a barrel."""

from __future__ import annotations

import math
from dataclasses import replace

from stmask_ros.lifting.transforms import Transform
from stmask_ros.sources.built_in_clip import BuiltInClip
from stmask_ros.sources.rgbd_scene import Scene, Shape, demo_scene, looking


def photograph_scene() -> Scene:
    """
    Return a room in which a cutout astronaut walks behind a cat.

    Raises OSError if scikit-image or one of its photographs is missing.
    """
    cutouts = BuiltInClip().cutouts()

    def cutout(
        name: str, class_name: str, height: float, x: float, y: float, speed: float
    ) -> Shape:
        picture = cutouts[name]
        width = height * picture.shape[1] / picture.shape[0]
        return Shape(
            'picture', (x, y, height / 2), (0.02, width, height), math.pi, (0.0, speed, 0.0),
            (0, 0, 0), class_name, picture)

    return replace(demo_scene(640, 360), pose=_pose, shapes=(
        cutout('astronaut', 'person', 1.4, 4.0, -1.5, 0.42),
        cutout('cat', 'animal', 0.8, 3.1, 0.9, -0.03),
        Shape('box', (4.6, 2.0, 0.4), (0.6, 0.9, 0.8), -0.4, (0.0, 0.0, 0.0), (40, 130, 200),
              'box'),
        Shape('sphere', (2.9, -0.9, 0.25), (0.5, 0.5, 0.5), 0.0, (0.0, 0.0, 0.0), (50, 200, 220),
              'ball'),
        Shape('cylinder', (5.0, -2.0, 0.45), (0.6, 0.6, 0.9), 0.0, (0.0, 0.0, 0.0), (150, 70, 140),
              'barrel'),
    ))


def _pose(seconds: float) -> Transform:
    """Return where the camera is: it rolls forward, and sways."""
    ahead, aside = 0.15 * seconds, 0.25 * math.sin(0.8 * seconds)
    return looking((-1.4 + ahead, -0.3 + aside, 1.2), (4.0 + ahead, 0.5 * aside, 0.55))
