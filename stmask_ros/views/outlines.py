# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The outlines of all masks of a result, as polygons for viewers that draw by themselves."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from stmask_ros.tracking.results import FrameResult

# Larger regions are looked at more coarsely: it bounds the memory, and nobody sees it.
_FINEST = 1024


@dataclass(frozen=True)
class Outline:
    """
    One closed line around a part of a mask, or around a hole in it.

    row: of its instance in the result. points: float64 [count, 2], x and y in the image [pixel];
    the middle of the top left pixel is at (0.5, 0.5).
    """

    row: int
    points: npt.NDArray[np.float64]


def outlines(result: FrameResult) -> list[Outline]:
    """Return the outlines of all masks, overlapping or not, found in one pass."""
    masks = result.masks
    rows = [row for row, mask in enumerate(masks) if mask.pixels.size]
    if not rows:
        return []
    steps = np.array([-(-max(masks[row].pixels.shape) // _FINEST) for row in rows])
    parts = [masks[row].pixels[::step, ::step] for row, step in zip(rows, steps, strict=True)]
    # Side by side, with a seam between them, they are one picture to search.
    ends = np.cumsum([part.shape[1] + 2 for part in parts])
    lefts = ends - [part.shape[1] for part in parts]
    canvas = np.zeros((max(len(part) for part in parts), int(ends[-1])), np.uint8)
    for part, left in zip(parts, lefts, strict=True):
        canvas[:len(part), left:left + part.shape[1]] = part
    lines, _ = cv2.findContours(canvas, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_TC89_L1)
    if not lines:
        return []
    offsets = np.array([(masks[row].x_offset, masks[row].y_offset) for row in rows])
    owners = np.searchsorted(ends, [line[0, 0, 0] for line in lines], 'right')
    found = []
    for owner, line in zip(owners.tolist(), lines, strict=True):
        inside = line[:, 0] - [lefts[owner], 0]
        found.append(Outline(rows[owner], inside * steps[owner] + offsets[owner] + 0.5))
    return found
