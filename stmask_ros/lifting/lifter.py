# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""From the masks and the depth of one image after the other to tracks in three dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stmask_ros.lifting.boxes import Boxes
from stmask_ros.lifting.instances import InstanceFrame
from stmask_ros.lifting.measurement import Measurements, Sensor, SurfacePoints, measure
from stmask_ros.lifting.tracks import Motion, Tracks, corrected, predicted
from stmask_ros.lifting.transforms import Transform
from stmask_ros.lifting.views import Samples
from stmask_ros.tracking.results import TrackStatus

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

# After a longer pause, nothing that was known still holds [ns].
_LONGEST_GAP = 10_000_000_000


@dataclass(frozen=True)
class LiftedFrame:
    """
    The N instances of one image in the output frame, in the order of the frame.

    measured: bool [N], measured in this image, and the measurement counted; where not, position
    and box are predicted, and NaN if the track was never measured.
    rejected: bool [N], measured, but beyond the gate.
    positions: float64 [N, 3], the middle of the visible surface [m]. velocities: [N, 3] [m/s].
    covariances: float64 [N, 6, 6] of both.
    aligned, turned: boxes around the visible surface, as it was when it was last measured.
    points_used: int64 [N]. valid_shares: float64 [N], share of the mask with valid depth.
    last_measured: int64 [N], stamp of the last measurement that counted [ns]; 0 for never.
    surface: the points that were measured. vertical: the output frame's vertical axis, 2 or 1.
    """

    measured: BoolArray
    rejected: BoolArray
    positions: Float64Array
    velocities: Float64Array
    covariances: Float64Array
    aligned: Boxes
    turned: Boxes
    points_used: Int64Array
    valid_shares: Float64Array
    last_measured: Int64Array
    surface: SurfacePoints
    vertical: int


@dataclass(frozen=True)
class _Memory:
    """
    What is kept from one image to the next.

    aligned, turned: a box for each of the tracks, whose center is an offset from its position.
    """

    epoch: int
    stamp: int
    tracks: Tracks
    aligned: Boxes
    turned: Boxes

    @classmethod
    def empty(cls, epoch: int, stamp: int) -> _Memory:
        """Return a memory without tracks."""
        return cls(epoch, stamp, Tracks.none(), Boxes.unknown(0), Boxes.unknown(0))

    def leads_to(self, frame: InstanceFrame) -> bool:
        """Say whether a frame continues what is remembered."""
        return self.epoch == frame.epoch and 0 < frame.stamp - self.stamp <= _LONGEST_GAP

    def boxes_of(self, tracks: Tracks) -> tuple[Boxes, Boxes]:
        """Return the boxes of some tracks, NaN for those that are new."""
        rows, there = self.tracks.rows(tracks.ids)
        places = np.flatnonzero(there)
        blank = Boxes.unknown(len(tracks))
        return (blank.replaced(places, self.aligned.chosen(rows[there])),
                blank.replaced(places, self.turned.chosen(rows[there])))


class Lifter:
    """Follows the tracks of one camera's images through one output frame."""

    def __init__(self, sensor: Sensor, motion: Motion, vertical: int) -> None:
        """
        Start without tracks.

        vertical: the vertical axis of the output frame: 2, or 1 of an optical frame.
        """
        self.sensor = sensor
        self.motion = motion
        self._vertical = vertical
        self._memory: _Memory | None = None

    def reset(self) -> None:
        """Forget all tracks."""
        self._memory = None

    def lift(self, frame: InstanceFrame, samples: Samples, to_output: Transform) -> LiftedFrame:
        """
        Return the instances of the next image.

        to_output: from the image's optical frame to the output frame, at the image's stamp.
        A new epoch, a stamp that is not later than the last one and a gap of more than ten
        seconds start afresh.
        """
        memory = self._memory
        if memory is None or not memory.leads_to(frame):
            memory = _Memory.empty(frame.epoch, frame.stamp)
        found, surface = measure(samples, self.sensor, to_output, self._vertical)
        # The mask of a coasting track was carried here, and may lie on what hides the object.
        seen = found.measured & (frame.states < TrackStatus.COASTING)
        tracks, accepted = corrected(
            predicted(memory.tracks, (frame.stamp - memory.stamp) * 1e-9, self.motion),
            frame.track_ids[seen], found.positions[seen], found.noise[seen], frame.stamp,
            self.motion)
        counted = seen.copy()
        counted[seen] = accepted
        memory = self._remember(memory, frame, found, counted, tracks)
        return _lifted(
            frame, found, counted, seen & ~counted, memory, surface, self._vertical)

    def _remember(
        self, memory: _Memory, frame: InstanceFrame, found: Measurements, counted: BoolArray,
        tracks: Tracks,
    ) -> _Memory:
        """Keep what the next image needs, and return what this one's message does."""
        aligned, turned = memory.boxes_of(tracks)
        rows, _ = tracks.rows(frame.track_ids[counted])
        back = -tracks.states[rows, :3]
        now = _Memory(
            frame.epoch, frame.stamp, tracks,
            aligned.replaced(rows, found.aligned.chosen(counted).moved(back)),
            turned.replaced(rows, found.turned.chosen(counted).moved(back)))
        rows, there = tracks.rows(frame.track_ids)
        lasting = rows[there & (frame.states != TrackStatus.TERMINATED)]
        self._memory = _Memory(
            frame.epoch, frame.stamp, tracks.chosen(lasting), now.aligned.chosen(lasting),
            now.turned.chosen(lasting))
        return now


def _lifted(
    frame: InstanceFrame, found: Measurements, counted: BoolArray, rejected: BoolArray,
    memory: _Memory, surface: SurfacePoints, vertical: int,
) -> LiftedFrame:
    rows, there = memory.tracks.rows(frame.track_ids)
    places = np.flatnonzero(there)
    tracks = memory.tracks.chosen(rows[there])
    count = len(frame)
    positions = tracks.states[:, :3]
    blank = Boxes.unknown(count)
    return LiftedFrame(
        measured=counted,
        rejected=rejected,
        positions=_spread(positions, places, count),
        velocities=_spread(tracks.states[:, 3:], places, count),
        covariances=_spread(tracks.covariances, places, count),
        aligned=blank.replaced(places, memory.aligned.chosen(rows[there]).moved(positions)),
        turned=blank.replaced(places, memory.turned.chosen(rows[there]).moved(positions)),
        points_used=found.points_used,
        valid_shares=found.valid_shares,
        last_measured=_spread(tracks.measured_at, places, count, 0),
        surface=surface,
        vertical=vertical)


def _spread(
    values: npt.NDArray[Any], places: Int64Array, count: int, fill: float = np.nan
) -> npt.NDArray[Any]:
    """Return values in their places among `count`, and the fill value in all others."""
    spread = np.full((count, *values.shape[1:]), fill, values.dtype)
    spread[places] = values
    return spread
