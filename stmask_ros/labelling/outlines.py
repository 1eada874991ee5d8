# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Masks as polygons, for tools that know no others, and polygons as masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from stmask_ros.evaluation.rle import Rle, SegmentationError, read_masks
from stmask_ros.masks import BoolArray

Points = npt.NDArray[np.float64]

# Of the longer side of the picture: how far a polygon may lie beside the outline.
_TOLERANCE = 1 / 800
_FEWEST_POINTS = 3


def polygons_of(mask: BoolArray) -> list[Points]:
    """
    Return the outlines [N, 2] (x, y) [pixel] of the parts of a mask, the largest first.

    Holes are filled; parts too small for three points are left out.
    """
    # Doubled, so that the outline runs between centers of pixels, a quarter within the edge.
    doubled = mask.astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    contours, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    tolerance = 2 * max(mask.shape) * _TOLERANCE
    simple = [cv2.approxPolyDP(contour, tolerance, True)[:, 0] for contour in contours]
    parts = [(points + 0.5) / 2 for points in simple if len(points) >= _FEWEST_POINTS]
    return sorted(parts, key=lambda points: -cv2.contourArea(points.astype(np.float32)))


def outline_of(mask: BoolArray) -> Points | None:
    """
    Return one outline [N, 2] (x, y) [pixel] around all parts of a mask; None if there is none.

    Corridors without width lead from part to part.
    """
    parts = polygons_of(mask)
    if not parts:
        return None
    outline = parts[0]
    for part in parts[1:]:
        distances = np.linalg.norm(outline[:, None] - part[None], axis=2)
        here, there = np.unravel_index(distances.argmin(), distances.shape)
        turned = np.roll(part, -int(there), axis=0)
        outline = np.concatenate(
            [outline[:here + 1], turned, turned[:1], outline[here:]])
    return outline


def filled(polygons: Sequence[Any], height: int, width: int) -> Rle | None:
    """
    Return the mask of some polygons, each of numbers x0, y0, x1, ... [pixel]; None if empty.

    Raises SegmentationError for what is no polygon.
    """
    (mask,) = read_masks([list(polygons)], height, width)
    return mask


__all__ = ['Points', 'SegmentationError', 'filled', 'outline_of', 'polygons_of']
