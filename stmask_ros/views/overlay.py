# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Pictures of a result: instances drawn over their image, and an image of track ids."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator, Sequence
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from stmask_ros.masks import RegionMask
from stmask_ros.tracking.results import FrameResult, TrackStatus

UInt8Array = npt.NDArray[np.uint8]
UInt16Array = npt.NDArray[np.uint16]
Colour = tuple[int, int, int]
Pixel = TypeVar('Pixel', np.uint8, np.uint16)

_GOLDEN_RATIO = 0.618033988749895
_OPACITY = 0.45
_COASTING_OPACITY = 0.2
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_DASH = 8
_LABELS = 65535


def colour_of(track_id: int) -> Colour:
    """Return a track's colour (B, G, R), always the same, and far from its neighbours'."""
    hue = track_id * _GOLDEN_RATIO % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.75, 1.0)
    return round(blue * 255), round(green * 255), round(red * 255)


def text_is_black(colour: Colour) -> bool:
    """Return whether black is easier to read on a colour (B, G, R) than white."""
    blue, green, red = colour
    return 0.114 * blue + 0.587 * green + 0.299 * red > 110


def stroke(height: int) -> int:
    """Return how thick lines are in a picture of this height, so that they are seen [pixel]."""
    return max(1, round(height / 540))


def draw_overlay(image: UInt8Array, result: FrameResult, class_names: Sequence[str]) -> UInt8Array:
    """
    Return a copy of a BGR image [H, W, 3] with every instance drawn on it.

    A track that coasts is drawn with a fainter mask and a dashed box.
    """
    picture = image.copy()
    for row in range(len(result)):
        coasting = int(result.statuses[row]) == TrackStatus.COASTING
        colour = colour_of(int(result.track_ids[row]))
        blend(picture, result.masks[row], colour, _COASTING_OPACITY if coasting else _OPACITY)
    for row in range(len(result)):
        if int(result.statuses[row]) == TrackStatus.TERMINATED:
            continue
        coasting = int(result.statuses[row]) == TrackStatus.COASTING
        colour = colour_of(int(result.track_ids[row]))
        corners = [round(edge) for edge in result.boxes[row].tolist()]
        _draw_box(picture, corners, colour, coasting)
        _draw_label(picture, label_of(result, row, class_names), corners[0], corners[1], colour)
    return picture


def label_image(result: FrameResult) -> UInt16Array:
    """
    Return the track id of every pixel, uint16 [H, W]; 0 where there is none.

    Where masks overlap, the higher score wins. Ids above 65535 start again at 1.
    """
    labels = np.zeros((result.image_height, result.image_width), np.uint16)
    for row in np.argsort(result.scores, kind='stable').tolist():
        mask = result.masks[row]
        label = (int(result.track_ids[row]) - 1) % _LABELS + 1
        _region(labels, mask)[mask.pixels] = label
    return labels


def _region(image: npt.NDArray[Pixel], mask: RegionMask) -> npt.NDArray[Pixel]:
    return image[
        mask.y_offset:mask.y_offset + mask.height, mask.x_offset:mask.x_offset + mask.width
    ]


def blend(
    picture: UInt8Array, mask: RegionMask, colour: Colour, opacity: float = _OPACITY
) -> None:
    """Paint a mask on a BGR picture [H, W, 3], half transparent and with its outline."""
    if mask.pixels.size == 0:
        return
    region = _region(picture, mask)
    inside = mask.pixels.astype(np.uint8)
    paint = np.full(region.shape, colour, np.uint8)
    blended = cv2.addWeighted(region, 1.0 - opacity, paint, opacity, 0.0)
    cv2.copyTo(blended, inside, region)
    outlines, _ = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(
        picture, outlines, -1, colour, stroke(len(picture)), offset=(mask.x_offset, mask.y_offset))


def _draw_box(
    picture: UInt8Array, corners: Sequence[int], colour: Colour, dashed: bool
) -> None:
    left, top, right, bottom = corners
    thick = stroke(len(picture))
    if not dashed:
        cv2.rectangle(picture, (left, top), (right, bottom), colour, thick)
        return
    for start, end in _dashes(left, right, thick):
        cv2.line(picture, (start, top), (end, top), colour, thick)
        cv2.line(picture, (start, bottom), (end, bottom), colour, thick)
    for start, end in _dashes(top, bottom, thick):
        cv2.line(picture, (left, start), (left, end), colour, thick)
        cv2.line(picture, (right, start), (right, end), colour, thick)


def _dashes(first: int, last: int, thick: int) -> Iterator[tuple[int, int]]:
    dash = _DASH * thick
    for start in range(first, last, dash):
        yield start, min(start + dash // 2, last)


def label_of(result: FrameResult, row: int, class_names: Sequence[str]) -> str:
    """Return what a picture says of an instance: its track id, class and score."""
    class_id = int(result.class_ids[row])
    known = 1 <= class_id <= len(class_names)
    name = class_names[class_id - 1] if known else f'class {class_id}'
    return f'#{result.track_ids[row]} {name} {result.scores[row]:.2f}'


def _draw_label(picture: UInt8Array, text: str, left: int, top: int, colour: Colour) -> None:
    """Write on a plate of the track's colour, above the box, or inside where there is no room."""
    height, width = picture.shape[:2]
    scale, thick = max(0.35, height / 1200), stroke(height)
    (text_width, text_height), below = cv2.getTextSize(text, _FONT, scale, thick)
    plate = text_height + below + 2
    x = max(0, min(left, width - text_width))
    y = top - plate if top >= plate else top
    cv2.rectangle(picture, (x, y), (x + text_width, y + plate), colour, cv2.FILLED)
    position = (x, y + text_height + 1)
    shade = (0, 0, 0) if text_is_black(colour) else (255, 255, 255)
    cv2.putText(picture, text, position, _FONT, scale, shade, thick, cv2.LINE_AA)
