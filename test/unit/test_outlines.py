# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Outlines: those of each mask, however masks lie, and as many pixels inside as the mask has."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from test_overlay import _result, _square

from stmask_ros.masks import RegionMask
from stmask_ros.views.outlines import outlines


def _filled(lines, height, width) -> np.ndarray:
    """Return how often each pixel is inside a line: holes are taken away again."""
    canvas = np.zeros((height, width), np.uint8)
    corners = [np.round(line.points - 0.5).astype(np.int32) for line in lines]
    cv2.drawContours(canvas, corners, -1, 1, cv2.FILLED)
    return canvas.astype(bool)


def test_overlapping_masks_keep_their_own_outlines():
    masks = [_square(10, 10, 30), RegionMask.empty(), _square(20, 20, 40)]
    lines = outlines(_result([1, 2, 3], [0.5] * 3, masks))
    assert [line.row for line in sorted(lines, key=lambda line: line.row)] == [0, 2]
    for line in lines:
        mask = masks[line.row]
        assert line.points.min(0).tolist() == [mask.x_offset + 0.5, mask.y_offset + 0.5]
        np.testing.assert_array_equal(_filled([line], 120, 160), mask.to_full(120, 160))


def test_parts_and_holes_have_lines_of_their_own():
    full = np.zeros((120, 160), bool)
    full[5:40, 5:60] = True
    full[15:25, 20:40] = False
    full[80:90, 100:140] = True
    lines = outlines(_result([9], [0.5], [RegionMask.from_full(full)]))
    assert [line.row for line in lines] == [0, 0, 0]
    wrong = _filled(lines, 120, 160) ^ full
    assert wrong.sum() <= 60  # the line of a hole runs on the pixels around it


def test_a_large_mask_is_outlined_within_a_few_pixels():
    canvas = np.zeros((2160, 3840), np.uint8)
    cv2.ellipse(canvas, (1900, 1000), (1800, 900), 10, 0, 360, 1, cv2.FILLED)
    mask = RegionMask.from_full(canvas.astype(bool))
    result = dataclasses.replace(_result([1], [0.5], [mask]), image_height=2160, image_width=3840)
    wrong = _filled(outlines(result), 2160, 3840) ^ canvas.astype(bool)
    assert wrong.sum() < 0.01 * mask.area


def test_nothing_gives_nothing():
    assert outlines(_result([], [], [])) == []
    assert outlines(_result([4], [0.5], [RegionMask.empty()])) == []
