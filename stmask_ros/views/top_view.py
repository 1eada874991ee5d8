# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Tracks in space, drawn as seen from above."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from stmask_ros.views.overlay import colour_of

UInt8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float64]

_PAPER = (250, 250, 250)
_GRID = (225, 225, 225)
_INK = (60, 60, 60)
_TRUTH = (170, 170, 170)


@dataclass(frozen=True)
class TopTrack:
    """
    A track to draw.

    path: [K, 2], its places up to now, x and y [m]. size: along and across its box [m]. yaw: of
    the box [rad]. velocity: [2] [m/s]. label: beside it. measured: if not, it is drawn hollow.
    """

    track_id: int
    path: FloatArray
    center: FloatArray
    size: tuple[float, float]
    yaw: float
    velocity: FloatArray
    label: str
    measured: bool


@dataclass(frozen=True)
class TopView:
    """
    A map of the floor.

    area: x and y, from and to [m]; x points up in the picture, y to the left, as robots see it.
    scale: pixels a metre.
    """

    area: tuple[float, float, float, float]
    scale: float

    def draw(
        self, tracks: Sequence[TopTrack], outlines: Sequence[FloatArray],
        camera: tuple[FloatArray, FloatArray] | None,
    ) -> UInt8Array:
        """
        Return the map, uint8 BGR.

        outlines: [K, 2] of what is truly there, grey. camera: its place and direction, [2] each.
        """
        x0, x1, y0, y1 = self.area
        picture = np.full(
            (round((x1 - x0) * self.scale), round((y1 - y0) * self.scale), 3), _PAPER, np.uint8)
        self._grid(picture)
        for outline in outlines:
            cv2.polylines(picture, [self._pixels(outline)], True, _TRUTH, 2, cv2.LINE_AA)
        if camera is not None:
            self._camera(picture, *camera)
        for track in tracks:
            self._track(picture, track)
        return picture

    def _pixels(self, points: FloatArray) -> npt.NDArray[np.int32]:
        """Return column and row of places [K, 2]."""
        _, x1, _, y1 = self.area
        columns, rows = (y1 - points[:, 1]) * self.scale, (x1 - points[:, 0]) * self.scale
        return np.rint(np.stack([columns, rows], axis=1)).astype(np.int32)

    def _grid(self, picture: UInt8Array) -> None:
        x0, x1, y0, y1 = self.area
        for x in range(int(np.ceil(x0)), int(x1) + 1):
            start, end = self._pixels(np.array([[x, y0], [x, y1]], np.float64)).tolist()
            cv2.line(picture, start, end, _GRID, 1)
            _write(picture, f'{x} m', (4, end[1] - 3), 0.35, _INK)
        for y in range(int(np.ceil(y0)), int(y1) + 1):
            start, end = self._pixels(np.array([[x0, y], [x1, y]], np.float64)).tolist()
            cv2.line(picture, start, end, _GRID, 1)

    def _camera(self, picture: UInt8Array, place: FloatArray, forward: FloatArray) -> None:
        side = np.array([-forward[1], forward[0]])
        corners = np.array([
            place, place + 0.4 * forward + 0.22 * side, place + 0.4 * forward - 0.22 * side])
        cv2.fillPoly(picture, [self._pixels(corners)], _INK, cv2.LINE_AA)

    def _track(self, picture: UInt8Array, track: TopTrack) -> None:
        colour = colour_of(track.track_id)
        cv2.polylines(picture, [self._pixels(track.path)], False, colour, 2, cv2.LINE_AA)
        turn = np.array([
            [np.cos(track.yaw), -np.sin(track.yaw)], [np.sin(track.yaw), np.cos(track.yaw)]])
        corners = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) / 2 * np.maximum(track.size, 0.04)
        box = self._pixels(track.center + corners @ turn.T)
        if track.measured:
            shade = picture.copy()
            cv2.fillPoly(shade, [box], colour, cv2.LINE_AA)
            cv2.addWeighted(shade, 0.35, picture, 0.65, 0, picture)
        cv2.polylines(picture, [box], True, colour, 2, cv2.LINE_AA)
        start, end = self._pixels(np.stack([track.path[-1], track.path[-1] + track.velocity]))
        if np.linalg.norm(track.velocity) > 0.1:
            cv2.arrowedLine(picture, start.tolist(), end.tolist(), colour, 2, cv2.LINE_AA)
        place = (int(box[:, 0].min()), int(box[:, 1].min()) - 6)
        _write(picture, track.label, place, 0.42, _INK)


def _write(
    picture: UInt8Array, text: str, place: tuple[int, int], size: float,
    colour: tuple[int, int, int],
) -> None:
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)
