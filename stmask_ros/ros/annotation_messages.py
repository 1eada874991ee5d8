# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Results for viewers that draw over the image by themselves: Foxglove's and ROS's own markers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA, Header

from stmask_ros.tracking.results import FrameResult, TrackStatus
from stmask_ros.views.outlines import Outline
from stmask_ros.views.overlay import colour_of, label_of, stroke, text_is_black

try:
    from foxglove_msgs.msg import (
        Color,
        ImageAnnotations,
        Point2,
        PointsAnnotation,
        TextAnnotation,
    )
except ImportError:
    ImageAnnotations = None

try:
    from visualization_msgs.msg import ImageMarker
except ImportError:
    ImageMarker = None

__all__ = ['ImageAnnotations', 'ImageMarker', 'annotations_message', 'outlines_message']

Points = npt.NDArray[np.float64]

# Of the image's height.
_FONT = 1 / 45
_SMALLEST_FONT = 10.0


def annotations_message(
    result: FrameResult, header: Header, class_names: Sequence[str], lines: Sequence[Outline]
) -> ImageAnnotations:
    """Return outlines, boxes and names of a result as foxglove_msgs/ImageAnnotations."""
    width = float(stroke(result.image_height))
    colours = [_color(track_id) for track_id in result.track_ids.tolist()]
    there = np.flatnonzero(result.statuses != TrackStatus.TERMINATED).tolist()
    loops = [(line.points, colours[line.row], width) for line in lines]
    loops += [(_corners(result.boxes[row]), colours[row], width / 2) for row in there]
    message = ImageAnnotations(
        points=[
            PointsAnnotation(
                timestamp=header.stamp, type=PointsAnnotation.LINE_LOOP, thickness=thickness,
                outline_color=colour, points=[Point2(x=x, y=y) for x, y in points.tolist()])
            for points, colour, thickness in loops
        ],
        texts=[_text(result, row, header, class_names, colours[row]) for row in there],
    )
    if hasattr(message, 'timestamp'):  # since 2026
        message.timestamp = header.stamp
    return message


def _text(
    result: FrameResult, row: int, header: Header, class_names: Sequence[str], colour: Color
) -> TextAnnotation:
    shade = 0.0 if text_is_black(colour_of(int(result.track_ids[row]))) else 1.0
    x, y = result.boxes[row, :2].tolist()
    size = max(_SMALLEST_FONT, result.image_height * _FONT)
    return TextAnnotation(
        timestamp=header.stamp, text=label_of(result, row, class_names), font_size=size,
        position=Point2(x=x, y=max(y, size)), background_color=colour,
        text_color=Color(r=shade, g=shade, b=shade, a=1.0))


def _corners(box: npt.NDArray[np.float32]) -> Points:
    left, top, right, bottom = box.astype(np.float64)
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def _color(track_id: int) -> Color:
    blue, green, red = colour_of(track_id)
    return Color(r=red / 255, g=green / 255, b=blue / 255, a=1.0)


def outlines_message(
    result: FrameResult, header: Header, lines: Sequence[Outline]
) -> ImageMarker:
    """Return all outlines of a result as one visualization_msgs/ImageMarker, a list of lines."""
    ends = [
        np.stack([line.points, np.roll(line.points, -1, 0)], 1).reshape(-1, 2) for line in lines
    ]
    colours = [_rgba(track_id) for track_id in result.track_ids.tolist()]
    return ImageMarker(
        header=header, ns='outlines', type=ImageMarker.LINE_LIST, action=ImageMarker.ADD,
        scale=float(stroke(result.image_height)),
        points=[
            Point(x=x, y=y) for x, y in (np.concatenate(ends).tolist() if ends else [])],
        outline_colors=[colours[line.row] for line in lines for _ in range(len(line.points))],
    )


def _rgba(track_id: int) -> ColorRGBA:
    blue, green, red = colour_of(track_id)
    return ColorRGBA(r=red / 255, g=green / 255, b=blue / 255, a=1.0)
