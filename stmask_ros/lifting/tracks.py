# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Where things are and how fast: a constant-velocity Kalman filter for each track, all in one pass.

Bar-Shalom, Li, Kirubarajan, "Estimation with Applications to Tracking and Navigation" (2001),
section 6.2 (white noise acceleration), gate on the Mahalanobis distance of the innovation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

# Nothing is known of the velocity of a new track, but that nothing indoors is faster [m/s].
_FIRST_SPEED = 5.0


@dataclass(frozen=True)
class Motion:
    """
    How things are expected to move.

    acceleration_noise: standard deviation of the acceleration [m/s^2]. gate: largest Mahalanobis
    distance of a measurement from its prediction. patience: so many measurements in a row are
    beyond the gate before the track starts afresh at the last one.
    """

    acceleration_noise: float = 2.0
    gate: float = 4.0
    patience: int = 4


@dataclass(frozen=True)
class Tracks:
    """
    N tracks, ordered by id.

    ids: int64 [N]. states: float64 [N, 6], position [m] and velocity [m/s]. covariances: float64
    [N, 6, 6]. rejected: int64 [N], measurements in a row that were beyond the gate.
    measured_at: int64 [N], stamp of the last measurement that counted [ns].
    """

    ids: Int64Array
    states: Float64Array
    covariances: Float64Array
    rejected: Int64Array
    measured_at: Int64Array

    @classmethod
    def none(cls) -> Tracks:
        """Return no tracks."""
        return cls(
            np.zeros(0, np.int64), np.zeros((0, 6)), np.zeros((0, 6, 6)), np.zeros(0, np.int64),
            np.zeros(0, np.int64))

    def __len__(self) -> int:
        """Return the number of tracks."""
        return len(self.ids)

    def rows(self, ids: Int64Array) -> tuple[Int64Array, BoolArray]:
        """Return the rows of some ids, and which of them are there at all."""
        places = np.searchsorted(self.ids, ids)
        there = places < len(self.ids)
        there[there] = self.ids[places[there]] == ids[there]
        return np.where(there, places, 0), there

    def chosen(self, rows: Int64Array | BoolArray) -> Tracks:
        """Return some of the tracks."""
        return Tracks(
            self.ids[rows], self.states[rows], self.covariances[rows], self.rejected[rows],
            self.measured_at[rows])

    def replaced(self, rows: Int64Array, others: Tracks) -> Tracks:
        """Return the tracks, with others of the same ids in some rows."""
        found = Tracks(
            self.ids, self.states.copy(), self.covariances.copy(), self.rejected.copy(),
            self.measured_at.copy())
        found.states[rows], found.covariances[rows] = others.states, others.covariances
        found.rejected[rows], found.measured_at[rows] = others.rejected, others.measured_at
        return found


def predicted(tracks: Tracks, seconds: float, motion: Motion) -> Tracks:
    """Return the tracks some time later [s]."""
    step = np.eye(6)
    step[:3, 3:] = seconds * np.eye(3)
    effect = np.concatenate([seconds**2 / 2 * np.eye(3), seconds * np.eye(3)])
    noise = effect @ effect.T
    return replace(
        tracks,
        states=tracks.states @ step.T,
        covariances=step @ tracks.covariances @ step.T + motion.acceleration_noise**2 * noise)


def corrected(
    tracks: Tracks, ids: Int64Array, positions: Float64Array, noise: Float64Array, stamp: int,
    motion: Motion,
) -> tuple[Tracks, BoolArray]:
    """
    Return the tracks after measurements, and which of these counted.

    ids: int64 [M], rising. positions: float64 [M, 3] [m]. noise: float64 [M, 3, 3], their
    covariances. stamp: of the measurements [ns]. An id without a track starts one.
    """
    rows, there = tracks.rows(ids)
    updated, counted = _updated(
        tracks.chosen(rows[there]), positions[there], noise[there], stamp, motion)
    accepted = np.ones(len(ids), bool)
    accepted[there] = counted
    tracks = tracks.replaced(rows[there], updated)
    if not there.all():
        born = _born(ids[~there], positions[~there], noise[~there], stamp)
        tracks = _merged(tracks, born)
    return tracks, accepted


def _updated(
    tracks: Tracks, positions: Float64Array, noise: Float64Array, stamp: int, motion: Motion
) -> tuple[Tracks, BoolArray]:
    innovation = (positions - tracks.states[:, :3])[..., None]
    spread = tracks.covariances[:, :3, :3] + noise
    solved = np.linalg.solve(
        spread, np.concatenate([innovation, tracks.covariances[:, :3]], axis=2))
    distance = (innovation * solved[..., :1]).sum(axis=(1, 2))
    within = distance <= motion.gate**2
    rejected = np.where(within, 0, tracks.rejected + 1)
    gain = np.where(within[:, None, None], np.swapaxes(solved[..., 1:], 1, 2), 0)
    afresh = rejected >= motion.patience
    counted = within | afresh
    updated = Tracks(
        tracks.ids, tracks.states + (gain @ innovation)[..., 0],
        _joseph(tracks.covariances, gain, noise), np.where(counted, 0, rejected),
        np.where(counted, stamp, tracks.measured_at))
    if afresh.any():
        born = _born(tracks.ids[afresh], positions[afresh], noise[afresh], stamp)
        updated = updated.replaced(afresh.nonzero()[0], born)
    return updated, counted


def _joseph(covariance: Float64Array, gain: Float64Array, noise: Float64Array) -> Float64Array:
    """Return covariances after a measurement, in the form that keeps them symmetric."""
    rest = np.eye(6)[None].repeat(len(gain), axis=0)
    rest[:, :, :3] -= gain
    return rest @ covariance @ np.swapaxes(rest, 1, 2) + gain @ noise @ np.swapaxes(gain, 1, 2)


def _born(ids: Int64Array, positions: Float64Array, noise: Float64Array, stamp: int) -> Tracks:
    count = len(ids)
    covariances = np.zeros((count, 6, 6))
    covariances[:, :3, :3] = noise
    covariances[:, 3:, 3:] = _FIRST_SPEED**2 * np.eye(3)
    return Tracks(
        ids, np.concatenate([positions, np.zeros((count, 3))], axis=1), covariances,
        np.zeros(count, np.int64), np.full(count, stamp, np.int64))


def _merged(*parts: Tracks) -> Tracks:
    joined = Tracks(
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.states for part in parts]),
        np.concatenate([part.covariances for part in parts]),
        np.concatenate([part.rejected for part in parts]),
        np.concatenate([part.measured_at for part in parts]))
    return joined.chosen(np.argsort(joined.ids, kind='stable'))
