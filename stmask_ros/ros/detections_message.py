# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Results as vision_msgs, for programs that take boxes; where that package is installed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from std_msgs.msg import Header

from stmask_ros.ros.messages import class_name
from stmask_ros.tracking.results import FrameResult, TrackStatus

try:
    from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose
except ImportError:
    Detection2DArray = None

__all__ = ['Detection2DArray', 'detections_message']


def detections_message(
    result: FrameResult, header: Header, class_names: Sequence[str]
) -> Detection2DArray:
    """
    Return the tracks of a frame that have not ended, under the image's own header.

    Boxes are in pixels of the image and not rotated; poses, which nobody knows, stay at zero.
    class_names: class i + 1 is class_names[i]; where it is too short, class_id is the number.
    A detection's id is that of its track after the epoch's, '3-17', so that it never comes back.
    """
    lasting = result.statuses != int(TrackStatus.TERMINATED)
    corners = result.boxes[lasting].reshape(-1, 2, 2).astype(np.float64)
    columns = zip(
        result.track_ids[lasting].tolist(), result.class_ids[lasting].tolist(),
        result.scores[lasting].tolist(), corners.mean(axis=1).tolist(),
        np.diff(corners, axis=1)[:, 0].tolist(), strict=True,
    )
    return Detection2DArray(header=header, detections=[
        _detection(
            header, f'{result.epoch}-{track_id}',
            class_name(class_names, class_id) or str(class_id), score, center, size,
        )
        for track_id, class_id, score, center, size in columns
    ])


def _detection(
    header: Header, track: str, class_id: str, score: float, center: list[float],
    size: list[float],
) -> Detection2D:
    message = Detection2D(header=header, id=track, results=[ObjectHypothesisWithPose()])
    hypothesis = message.results[0].hypothesis
    hypothesis.class_id, hypothesis.score = class_id, score
    message.bbox.center.position.x, message.bbox.center.position.y = center
    message.bbox.size_x, message.bbox.size_y = size
    return message
