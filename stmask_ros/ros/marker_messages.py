# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Tracks for RViz: boxes, ids and velocity arrows; where visualization_msgs is installed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Pose
from std_msgs.msg import ColorRGBA, Header

from stmask_ros.lifting.pipeline import LiftedPair
from stmask_ros.ros.lifted_messages import turned_poses
from stmask_ros.tracking.results import TrackStatus
from stmask_ros.views.overlay import colour_of

try:
    from visualization_msgs.msg import Marker, MarkerArray
except ImportError:
    MarkerArray = None

__all__ = ['MarkerArray', 'MarkerWriter']

_KINDS = ('boxes', 'ids', 'velocities')
# Slower things get no arrow [m/s]: it would only tremble.
_SLOW = 0.1


class MarkerWriter:
    """Writes the markers of one frame after the other, and takes back those of ended tracks."""

    def __init__(self) -> None:
        """Start with nothing shown."""
        self._epoch: int | None = None
        self._shown: set[int] = set()

    def write(self, pair: LiftedPair, header: Header) -> MarkerArray:
        """Return the markers that change with a pair."""
        markers = []
        if pair.frame.epoch != self._epoch:
            markers.append(Marker(header=header, action=Marker.DELETEALL))
            self._shown = set()
        self._epoch = pair.frame.epoch
        lasting = pair.frame.states != TrackStatus.TERMINATED
        there = np.flatnonzero(lasting & np.isfinite(pair.lifted.positions[:, 0])).tolist()
        poses = turned_poses(pair)
        for row in there:
            markers += _markers(pair, row, poses[row], header)
        ids = set(pair.frame.track_ids[there].tolist())
        markers += [
            Marker(header=header, ns=kind, id=track_id, action=Marker.DELETE)
            for track_id in sorted(self._shown - ids) for kind in _KINDS]
        self._shown = ids
        return MarkerArray(markers=markers)


def _markers(pair: LiftedPair, row: int, pose: Pose, header: Header) -> Iterator[Marker]:
    frame, lifted = pair.frame, pair.lifted
    track_id = int(frame.track_ids[row])
    # What is predicted, not measured, is fainter.
    colour = _colour(track_id, 0.6 if lifted.measured[row] else 0.25)
    box = _marker(header, 'boxes', track_id, Marker.CUBE, colour)
    box.pose = pose
    box.scale.x, box.scale.y, box.scale.z = np.maximum(lifted.turned.sizes[row], 0.01).tolist()
    yield box
    text = _marker(header, 'ids', track_id, Marker.TEXT_VIEW_FACING, _colour(track_id, 1.0))
    top = lifted.aligned.centers[row].copy()
    half = float(lifted.aligned.sizes[row, lifted.vertical]) / 2 + 0.15
    top[lifted.vertical] += half if lifted.vertical == 2 else -half
    text.pose.position.x, text.pose.position.y, text.pose.position.z = top.tolist()
    text.pose.orientation.w = 1.0
    text.scale.z = 0.2
    text.text = f'{frame.class_names[row] or frame.class_ids[row]} {track_id}'
    yield text
    arrow = _marker(header, 'velocities', track_id, Marker.ARROW, _colour(track_id, 1.0))
    start, velocity = lifted.positions[row], lifted.velocities[row]
    if float(np.linalg.norm(velocity)) < _SLOW:
        arrow.action = Marker.DELETE
    arrow.points = [_point(start.tolist()), _point((start + velocity).tolist())]
    arrow.scale.x, arrow.scale.y, arrow.scale.z = 0.04, 0.1, 0.12
    arrow.pose.orientation.w = 1.0
    yield arrow


def _marker(header: Header, kind: str, track_id: int, shape: int, colour: ColorRGBA) -> Marker:
    return Marker(
        header=header, ns=kind, id=track_id, type=shape, action=Marker.ADD, color=colour,
        lifetime=Duration(sec=1))


def _point(values: list[float]) -> Point:
    x, y, z = values
    return Point(x=x, y=y, z=z)


def _colour(track_id: int, opacity: float) -> ColorRGBA:
    blue, green, red = colour_of(track_id)
    return ColorRGBA(r=red / 255, g=green / 255, b=blue / 255, a=opacity)
