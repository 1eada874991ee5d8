# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Tracks in space as vision_msgs, for programs that take boxes; where they are installed."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import Pose
from std_msgs.msg import Header

from stmask_ros.lifting.pipeline import LiftedPair
from stmask_ros.ros.lifted_messages import turned_poses
from stmask_ros.tracking.results import TrackStatus

try:
    from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose
except ImportError:
    Detection3DArray = None

__all__ = ['Detection3DArray', 'detections_3d_message']


def detections_3d_message(pair: LiftedPair, header: Header) -> Detection3DArray:
    """
    Return the tracks whose place is known and that have not ended.

    A detection's id is that of its track after the epoch's, '3-17', so that it never comes back.
    """
    lasting = pair.frame.states != TrackStatus.TERMINATED
    rows = np.flatnonzero(lasting & np.isfinite(pair.lifted.positions[:, 0])).tolist()
    poses = turned_poses(pair)
    return Detection3DArray(
        header=header, detections=[_detection(pair, row, poses[row], header) for row in rows])


def _detection(pair: LiftedPair, row: int, box: Pose, header: Header) -> Detection3D:
    frame, lifted = pair.frame, pair.lifted
    result = ObjectHypothesisWithPose()
    result.hypothesis.class_id = frame.class_names[row] or str(frame.class_ids[row])
    result.hypothesis.score = float(frame.scores[row])
    position = result.pose.pose.position
    position.x, position.y, position.z = lifted.positions[row].tolist()
    # Of the turn nothing is measured: variance without end.
    spread = np.diag([0.0, 0.0, 0.0, 1e9, 1e9, 1e9])
    spread[:3, :3] = lifted.covariances[row, :3, :3]
    result.pose.covariance = spread.ravel()
    message = Detection3D(
        header=header, id=f'{frame.epoch}-{frame.track_ids[row]}', results=[result])
    message.bbox.center = box
    size = message.bbox.size
    size.x, size.y, size.z = lifted.turned.sizes[row].tolist()
    return message
