# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Tracks as frames of their own on /tf; where tf2_msgs is installed."""

from __future__ import annotations

from typing import Any

from geometry_msgs.msg import TransformStamped

from stmask_ros.msg import TrackedInstance3D, TrackedInstance3DArray
from stmask_ros.tracking.results import TrackStatus

try:
    from tf2_msgs.msg import TFMessage
except ImportError:
    TFMessage = None

__all__ = ['TFMessage', 'frames_message']


def frames_message(tracks: TrackedInstance3DArray, prefix: str) -> Any:
    """
    Return a TFMessage with the frames of confirmed tracks that were measured.

    prefix: of their names, another one for each lifter.
    """
    return TFMessage(transforms=[
        _frame(tracks, item, prefix) for item in tracks.instances
        if item.state == TrackStatus.CONFIRMED and item.measured])


def _frame(
    tracks: TrackedInstance3DArray, item: TrackedInstance3D, prefix: str
) -> TransformStamped:
    frame = TransformStamped(
        header=tracks.header, child_frame_id=f'{prefix}/track_{tracks.epoch}_{item.track_id}')
    shift = frame.transform.translation
    shift.x, shift.y, shift.z = item.position.x, item.position.y, item.position.z
    frame.transform.rotation = item.box_pose.orientation
    return frame
