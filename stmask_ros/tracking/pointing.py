# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Which instance of a result a point or a box means. Pure: no ROS, no clock."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stmask_ros.masks import BoolArray, Float32Array, RegionMask
from stmask_ros.tracking.results import FrameResult, TrackStatus

# Of a box that is to mean an object: its least overlap with the object's, and the least lead over
# its overlap with any other.
LEAST_OVERLAP = 0.3
LEAST_LEAD = 0.1
# A point inside of a box, and of no mask.
_IN_BOX_ALONE = 0.5


class PointingError(ValueError):
    """Nothing is meant clearly. The message says why."""


class NothingThereError(PointingError):
    """No instance is at the place."""


class AmbiguousError(PointingError):
    """Several instances are at the place."""


@dataclass(frozen=True)
class Place:
    """
    A box in an image [pixel]: left and top edge, width, height. Without width and height a point.

    Raises PointingError for numbers that are not finite, and for negative sizes.
    """

    x: float
    y: float
    width: float = 0.0
    height: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        numbers = (self.x, self.y, self.width, self.height)
        if not all(map(math.isfinite, numbers)) or min(self.width, self.height) < 0:
            raise PointingError(f'expected finite pixels and sizes from 0, got {numbers}')
        if (self.width == 0) != (self.height == 0):
            raise PointingError(
                'expected a box with width and height, or a point with neither, got '
                f'{self.width} x {self.height}'
            )

    @property
    def is_point(self) -> bool:
        """Whether it has no size."""
        return self.width == 0

    def __str__(self) -> str:
        """Return it for people."""
        corner = f'({self.x:g}, {self.y:g})'
        return corner if self.is_point else f'{self.width:g}x{self.height:g} at {corner}'


@dataclass(frozen=True)
class Meant:
    """An instance: its track id, and how surely it is meant [0, 1]."""

    track_id: int
    confidence: float


def instance_at(result: FrameResult, place: Place) -> Meant:
    """
    Return the instance that a point or a box means; NothingThereError or AmbiguousError if none.

    A point means the instance whose mask it is on, or else whose box it is in, if there is one
    only. A box means the instance whose box it overlaps best, at least by LEAST_OVERLAP and with
    LEAST_LEAD before all others.
    """
    present = result.rows(np.flatnonzero(result.statuses != TrackStatus.TERMINATED).tolist())
    sureness = _of_point(present, place) if place.is_point else _of_box(present, place)
    if not len(present) or sureness.max() == 0:
        raise NothingThereError(
            f'no object at {place}; there are {_named(present, np.ones(len(present), bool))}'
        )
    best = int(sureness.argmax())
    rivals = sureness > sureness[best] - LEAST_LEAD
    if rivals.sum() > 1:
        raise AmbiguousError(
            f'{place} may mean any of {_named(present, rivals)}: give its track id, or a box '
            'close around it'
        )
    return Meant(int(present.track_ids[best]), float(sureness[best]))


def overlaps(box: Float32Array, boxes: Float32Array) -> Float32Array:
    """Return the IoU [N] of a box [4] and boxes [N, 4], corners in pixels; 0 without an area."""
    sizes = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    both = sizes.clip(0).prod(1)
    either = (box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(1) - both
    return np.asarray(both / np.maximum(either, 1e-6), np.float32)


def _of_box(result: FrameResult, place: Place) -> Float32Array:
    corners = np.array(
        [place.x, place.y, place.x + place.width, place.y + place.height], np.float32
    )
    overlap = overlaps(corners, result.boxes)
    return np.where(overlap >= LEAST_OVERLAP, overlap, np.float32(0))


def _of_point(result: FrameResult, place: Place) -> Float32Array:
    boxes = result.boxes
    inside = (
        (boxes[:, 0] <= place.x) & (place.x < boxes[:, 2])
        & (boxes[:, 1] <= place.y) & (place.y < boxes[:, 3])
    )
    on_mask = np.array([_is_on(mask, place) for mask in result.masks], bool)
    if on_mask.any():
        return on_mask.astype(np.float32)
    return np.where(inside, np.float32(_IN_BOX_ALONE), np.float32(0))


def _is_on(mask: RegionMask, place: Place) -> bool:
    row, column = math.floor(place.y) - mask.y_offset, math.floor(place.x) - mask.x_offset
    inside = 0 <= row < mask.height and 0 <= column < mask.width
    return inside and bool(mask.pixels[row, column])


def _named(result: FrameResult, chosen: BoolArray) -> str:
    ids = result.track_ids[chosen].tolist()
    return f'tracks {ids}' if ids else 'none'
