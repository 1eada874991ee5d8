# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Smooth courses of what changes in a clip: of objects, of the camera, of the light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.interpolate import PchipInterpolator

Float64Array = npt.NDArray[np.float64]

# Frames between the points that a course goes through.
SPACING = 12


@dataclass(frozen=True)
class Course:
    """A smooth function of time. values: [frames, dimensions]."""

    values: Float64Array

    def at(self, frame: int) -> Float64Array:
        """Return the value [dimensions] in a frame."""
        value: Float64Array = self.values[frame]
        return value

    def speed(self, frame: int) -> Float64Array:
        """Return the change [dimensions] from one frame to the next, about this frame."""
        before, after = max(frame - 1, 0), min(frame + 1, len(self.values) - 1)
        change: Float64Array = (self.values[after] - self.values[before]) / max(after - before, 1)
        return change


def wander(
    rng: np.random.Generator, frames: int, low: npt.ArrayLike, high: npt.ArrayLike,
    step: npt.ArrayLike,
) -> Course:
    """
    Draw a course that starts anywhere between low and high, [dimensions], and stays there.

    step: [dimensions], the most that a value changes in SPACING frames.
    """
    low, high, step = np.atleast_1d(low), np.atleast_1d(high), np.atleast_1d(step)
    count = 2 + (frames - 1) // SPACING
    points = [rng.uniform(low, high)]
    for _ in range(count - 1):
        points.append(np.clip(points[-1] + rng.uniform(-step, step), low, high))
    times = np.linspace(0, max(frames - 1, 1), count)
    # Unlike a spline through the same points, this one never leaves the range.
    return Course(PchipInterpolator(times, np.array(points))(np.arange(frames)))
