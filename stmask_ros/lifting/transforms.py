# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Rigid transforms between frames, and where to ask for one at a stamp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from stmask_ros.lifting.errors import LiftingError

FloatArray = npt.NDArray[np.floating[Any]]

# A quaternion further from length 1 is no rotation; nearer ones are normalised.
_UNIT = 1e-2
# Beyond this no robot drives [m].
_FARTHEST = 1e7


@dataclass(frozen=True)
class Transform:
    """
    Takes points of one frame to another: target = rotation @ source + translation.

    rotation: float64 [3, 3]. translation: float64 [3] [m].
    """

    rotation: npt.NDArray[np.float64]
    translation: npt.NDArray[np.float64]

    @classmethod
    def identity(cls) -> Transform:
        """Return the transform between two names of one frame."""
        return cls(np.eye(3), np.zeros(3))

    @classmethod
    def from_numbers(cls, translation: Any, quaternion: Any) -> Transform:
        """Return the transform of x, y, z [m] and of a quaternion x, y, z, w; or LiftingError."""
        shift, turn = np.array(translation, np.float64), np.array(quaternion, np.float64)
        length = float(np.linalg.norm(turn))
        if not np.isfinite(shift).all() or np.abs(shift).max() > _FARTHEST:
            raise LiftingError('transform', f'the translation {shift.tolist()} is no place [m]')
        if not abs(length - 1) < _UNIT:
            raise LiftingError('transform', (
                f'the quaternion {turn.tolist()} has length {length:.3f}: expected 1'))
        return cls(_matrix(turn / length), shift)

    @property
    def is_identity(self) -> bool:
        """Whether it moves nothing by a visible amount."""
        turned, moved = np.abs(self.rotation - np.eye(3)), np.abs(self.translation)
        return bool(turned.max() < 1e-6 and moved.max() < 1e-6)

    def apply(self, points: FloatArray) -> FloatArray:
        """
        Return points [N, 3] of the source in the target's frame, in their own dtype.

        Takes least time where each coordinate of all points is in one piece, and returns them so.
        """
        # A product of matrices so slim would keep the threads of numpy's library waiting.
        moved = np.einsum('ij,nj->in', self.rotation.astype(points.dtype), points)
        moved += self.translation.astype(points.dtype)[:, None]
        return np.asarray(moved.T)

    def inverse(self) -> Transform:
        """Return the way back."""
        return Transform(self.rotation.T, -self.rotation.T @ self.translation)

    def after(self, first: Transform) -> Transform:
        """Return this transform, applied to what `first` returns."""
        return Transform(
            self.rotation @ first.rotation,
            self.rotation @ first.translation + self.translation)


def _matrix(quaternion: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    x, y, z, w = quaternion
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ])


class Transforms(Protocol):
    """Something that knows how frames lie to each other over time, such as tf2's buffer."""

    def lookup(self, target: str, source: str, stamp: int) -> Transform:
        """
        Return the transform from frame `source` to frame `target` at a stamp [ns], never another.

        Raises LiftingError ('no transform') if it is not known at that stamp.
        """


def turned(
    covariance: npt.NDArray[np.float64], rotation: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return covariances [N, 3, 3] in the frame that a rotation leads to."""
    return np.asarray(rotation @ covariance @ rotation.T)
