# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The tracked masks of one image, from a message of rclpy or rosbags or from a step's result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stmask_ros.lifting.depth import MAX_PIXELS
from stmask_ros.lifting.errors import LiftingError
from stmask_ros.masks import RegionMask, check_total, decode, decode_all
from stmask_ros.tracking.results import FrameResult, TrackStatus

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class InstanceFrame:
    """
    The N tracked instances of one image, ordered by track id.

    stamp: of the image [ns]. height, width: of the image [pixel]. epoch: track ids compare only
    within one. track_ids, states (values of TrackStatus), class_ids: int64 [N].
    class_names: N, '' where unknown. scores: float32 [N], 0 to 1. masks: N, empty if TERMINATED.
    """

    stamp: int
    height: int
    width: int
    epoch: int
    track_ids: Int64Array
    states: Int64Array
    class_ids: Int64Array
    class_names: Sequence[str]
    scores: npt.NDArray[np.float32]
    masks: Sequence[RegionMask]

    def __post_init__(self) -> None:
        """Raise LiftingError if the image has no size, an id comes twice or a mask is outside."""
        if not (self.height > 0 and self.width > 0 and self.height * self.width <= MAX_PIXELS):
            raise LiftingError('instances', (
                f'the instances are of an image of {self.width}x{self.height}: expected 1 to '
                f'{MAX_PIXELS} pixels'))
        if np.any(np.diff(self.track_ids) <= 0):
            raise LiftingError('instances', (
                f'the track ids {self.track_ids.tolist()} do not rise from one to the next'))
        for track_id, mask in zip(self.track_ids.tolist(), self.masks, strict=True):
            if mask.y_offset + mask.height > self.height or (
                    mask.x_offset + mask.width > self.width):
                raise LiftingError('instances', (
                    f'the mask of track {track_id} is outside the image of '
                    f'{self.width}x{self.height}'))

    def __len__(self) -> int:
        """Return the number of instances."""
        return len(self.track_ids)

    @classmethod
    def from_result(
        cls, result: FrameResult, stamp: int, class_names: Sequence[str] = ()
    ) -> InstanceFrame:
        """Return the instances of a step; class_names: class i + 1 is class_names[i]."""
        known = dict(enumerate(class_names, 1))
        return cls(
            stamp, result.image_height, result.image_width, result.epoch, result.track_ids,
            result.statuses, result.class_ids,
            [known.get(class_id, '') for class_id in result.class_ids.tolist()],
            result.scores, result.masks)

    @classmethod
    def from_message(cls, message: Any) -> InstanceFrame:
        """Return the instances of a TrackedInstanceArray; LiftingError if something is wrong."""
        items = message.instances
        stamp = message.header.stamp
        return cls(
            int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec),
            int(message.image_height), int(message.image_width), int(message.epoch),
            _column(items, 'track_id'), _column(items, 'state'), _column(items, 'class_id'),
            [str(item.class_name) for item in items],
            np.array([item.score for item in items], np.float32),
            _masks(items))


def _column(items: Sequence[Any], name: str) -> Int64Array:
    return np.array([getattr(item, name) for item in items], np.int64)


def _masks(items: Sequence[Any]) -> list[RegionMask]:
    masks = [RegionMask.empty()] * len(items)
    shown = [
        index for index, item in enumerate(items)
        if item.state != TrackStatus.TERMINATED and item.mask.width * item.mask.height
    ]
    shown_masks = [items[index].mask for index in shown]
    try:
        check_total(shown_masks)
    except ValueError as error:
        raise LiftingError('instances', str(error)) from error
    try:
        decoded = decode_all(shown_masks)
    except ValueError:
        decoded = [_decoded(items[index]) for index in shown]
    for index, mask in zip(shown, decoded, strict=True):
        masks[index] = mask
    return masks


def _decoded(item: Any) -> RegionMask:
    try:
        return decode(item.mask)
    except ValueError as error:
        raise LiftingError(
            'instances', f'the mask of track {item.track_id} cannot be read: {error}') from error
