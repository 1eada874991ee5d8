# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A result as two pictures: the class of every pixel, and how sure the network is of it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stmask_ros.tracking.results import FrameResult

UInt8Array = npt.NDArray[np.uint8]

BACKGROUND, LARGEST = 0, 254
# Of classes beyond the largest number, as vision_msgs/LabelInfo has it.
UNLABELED = 255


def class_image(result: FrameResult) -> UInt8Array:
    """
    Return the class of every pixel, uint8 [H, W], from 1; BACKGROUND where there is no instance.

    Where masks overlap, the higher score wins; so in confidence_image().
    """
    numbers = np.where(result.class_ids > LARGEST, UNLABELED, result.class_ids)
    return _painted(result, numbers.astype(np.uint8))


def confidence_image(result: FrameResult) -> UInt8Array:
    """Return the score of every pixel, uint8 [H, W], 255 for 1; 0 where there is no instance."""
    return _painted(result, (result.scores * 255).round().clip(1, 255).astype(np.uint8))


def _painted(result: FrameResult, values: UInt8Array) -> UInt8Array:
    picture = np.zeros((result.image_height, result.image_width), np.uint8)
    for row in np.argsort(result.scores, kind='stable').tolist():
        mask = result.masks[row]
        bottom, right = mask.y_offset + mask.height, mask.x_offset + mask.width
        picture[mask.y_offset:bottom, mask.x_offset:right][mask.pixels] = values[row]
    return picture
