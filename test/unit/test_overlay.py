# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Pictures of a result: what is drawn where, and what is left alone."""

from __future__ import annotations

import numpy as np

from stmask_ros.masks import RegionMask
from stmask_ros.tracking.results import FrameResult, TrackStatus
from stmask_ros.views.overlay import colour_of, draw_overlay, label_image

HEIGHT, WIDTH = 120, 160


def _result(
    track_ids: list[int], scores: list[float], masks: list[RegionMask],
    status: TrackStatus = TrackStatus.CONFIRMED,
) -> FrameResult:
    count = len(track_ids)
    ones = np.ones(count, np.int64)
    boxes = [(m.x_offset, m.y_offset, m.x_offset + m.width, m.y_offset + m.height) for m in masks]
    return FrameResult(
        image_height=HEIGHT, image_width=WIDTH, epoch=1, sequence=1, temporal_valid=False,
        track_ids=np.array(track_ids, np.int64), statuses=ones * status, sources=ones,
        class_ids=ones, scores=np.array(scores, np.float32),
        detection_scores=np.array(scores, np.float32), ages=ones, hits=ones, missed=ones * 0,
        first_seen=ones, last_detected=ones,
        boxes=np.array(boxes, np.float32).reshape(count, 4), masks=masks,
    )


def _square(left: int, top: int, size: int) -> RegionMask:
    return RegionMask(left, top, np.ones((size, size), bool))


def test_the_higher_score_wins_a_pixel_whatever_the_order():
    masks = [_square(10, 10, 20), _square(20, 20, 20)]
    labels = label_image(_result([1, 2], [0.9, 0.3], masks))
    assert (labels[25, 25], labels[12, 12], labels[38, 38], labels[5, 5]) == (1, 1, 2, 0)
    labels = label_image(_result([1, 2], [0.3, 0.9], masks))
    assert labels[25, 25] == 2


def test_ids_beyond_16_bits_start_again_and_are_never_background():
    masks = [_square(0, 0, 9), _square(50, 50, 9)]
    labels = label_image(_result([65535, 65536], [0.5, 0.5], masks))
    assert (labels[4, 4], labels[54, 54]) == (65535, 1)


def test_the_overlay_tints_the_mask_and_leaves_the_rest():
    image = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
    result = _result([7], [0.5], [_square(60, 60, 40)])
    picture = draw_overlay(image, result, ['cat'])
    assert (image == 100).all()
    inside = picture[80, 80].astype(int)
    assert np.abs(inside - (0.55 * 100 + 0.45 * np.array(colour_of(7)))).max() <= 1
    assert (picture[105:] == 100).all()
    assert (picture[:, :55] == 100).all()


def test_a_coasting_track_is_fainter():
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    masks = [_square(60, 60, 40)]
    shown = draw_overlay(image, _result([7], [0.5], masks), [])[80, 80]
    carried = draw_overlay(image, _result([7], [0.5], masks, TrackStatus.COASTING), [])[80, 80]
    assert carried.sum() < shown.sum()


def test_an_ended_track_is_not_drawn():
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    result = _result([7], [0.5], [RegionMask.empty()], TrackStatus.TERMINATED)
    assert not draw_overlay(image, result, []).any()


def test_masks_at_the_edges_and_long_names_fit():
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    masks = [_square(0, 0, 5), _square(WIDTH - 5, HEIGHT - 5, 5), _square(0, 0, HEIGHT)]
    picture = draw_overlay(image, _result([1, 2, 3], [0.1, 0.2, 0.3], masks), ['x' * 200])
    assert picture.shape == image.shape


def test_neighbouring_tracks_have_distant_colours():
    for track_id in range(1, 200):
        here, there = np.array(colour_of(track_id)), np.array(colour_of(track_id + 1))
        assert np.abs(here - there).max() > 60
