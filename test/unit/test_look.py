# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Regions and ignore masks: which pixels they are, and what they leave of tracks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from stmask_ros.families.family import ShownTracks
from stmask_ros.masks import RegionMask
from stmask_ros.tracking.look import IgnoreMask, Look, Region, RegionError
from stmask_ros.tracking.view import View

SIZE = (40, 60)


def rectangle(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    pixels = np.zeros(SIZE, bool)
    pixels[top:bottom, left:right] = True
    return pixels


def tracks(masks: list[np.ndarray], ended: bool = False) -> ShownTracks:
    """Return a track for each mask, its box around it."""
    ones, scores = np.ones(len(masks), np.int64), np.ones(len(masks), np.float32)
    regions = [RegionMask.from_full(mask) for mask in masks]
    boxes = np.array([
        (m.x_offset, m.y_offset, m.x_offset + m.width, m.y_offset + m.height) for m in regions
    ], np.float32).reshape(-1, 4)
    return ShownTracks(
        np.arange(1, len(masks) + 1), ones, scores, scores, ones, ones, 0 * ones, ones, ones,
        np.full(len(masks), ended), boxes, regions)


@pytest.mark.parametrize(('text', 'expected'), [
    ('10 5 30 20', rectangle(5, 10, 20, 30)),
    ('30 20 10 5', rectangle(5, 10, 20, 30)),
    ('0 0.5 1 1', rectangle(20, 0, 40, 60)),
    ('0 0, 60 0, 60 20, 0 20', rectangle(0, 0, 20, 60)),
    ('0 0, 1 0, 1 0.5, 0 0.5', rectangle(0, 0, 20, 60)),
    ('50 30 900 900', rectangle(30, 50, 40, 60)),
])
def test_pixels_of_a_region(text: str, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(Region.parsed(text).pixels(SIZE), expected)


def test_a_triangle_has_half_of_its_rectangle() -> None:
    inside = Region.parsed('0 0, 40 0, 0 40').pixels(SIZE)
    assert inside[:, :40].sum() == pytest.approx(40 * 40 / 2, rel=0.06)
    assert inside[1, 1]
    assert not inside[38, 38]


@pytest.mark.parametrize(('text', 'reason'), [
    ('1 2 3', 'neither two corners'), ('1 2 3 4 5', 'neither two corners'),
    ('a b c d', 'neither two corners'), ('', 'neither two corners'),
    ('0 0 0 1', 'no area'), ('5 5, 5 5, 5 5', 'no area'),
    ('-1 0 1 1', 'numbers from 0 on'), ('0 0 nan 1', 'numbers from 0 on'),
    ('0 0 inf 1', 'numbers from 0 on'),
])
def test_what_is_no_region(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Region.parsed(text)


def test_a_region_outside_of_an_image_is_told() -> None:
    with pytest.raises(RegionError, match='100 100, 200 200 has no pixel in an image of 60x40'):
        Look(Region.parsed('100 100 200 200')).at(SIZE)


def test_a_mask_is_stretched_over_the_image(tmp_path: Path) -> None:
    small = np.zeros((2, 3), np.uint8)
    small[1, 2] = 7
    for name, pixels in (
        ('grey', small), ('deep', small.astype(np.uint16) * 999),
        ('colour', np.repeat(small[..., None], 3, 2)),
    ):
        cv2.imwrite(str(tmp_path / f'{name}.png'), pixels)
        mask = IgnoreMask.read(str(tmp_path / f'{name}.png'))
        np.testing.assert_array_equal(mask.stretched(SIZE), rectangle(20, 40, 40, 60))
        visible = Look(ignored=(mask,)).at(SIZE).visible
        np.testing.assert_array_equal(visible, ~rectangle(20, 40, 40, 60))


def test_a_file_that_is_no_mask(tmp_path: Path) -> None:
    file = tmp_path / 'mask.png'
    cv2.imwrite(str(file), np.ones((9, 9), np.uint8))
    whole = file.read_bytes()
    for content in (b'', b'text', whole[:len(whole) // 2]):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"ignore_mask: '.*mask.png' cannot be read as a PNG"):
            IgnoreMask.read(str(file))
    with pytest.raises(ValueError, match='cannot be read'):
        IgnoreMask.read(str(tmp_path))
    file.write_bytes(whole)
    assert IgnoreMask.read(str(file)).pixels.all()


def test_masks_are_cut_and_boxes_follow() -> None:
    view = Look(Region.parsed('0 0 30 40')).at(SIZE)
    inside, across, mostly_out = (
        rectangle(2, 2, 8, 8), rectangle(10, 20, 20, 36), rectangle(25, 26, 30, 50))
    seen = view.of_tracks(tracks([inside, across, mostly_out]), frozenset())
    assert seen.ids.tolist() == [1, 2]
    np.testing.assert_array_equal(seen.masks[0].to_full(*SIZE), inside)
    np.testing.assert_array_equal(seen.masks[1].to_full(*SIZE), rectangle(10, 20, 20, 30))
    np.testing.assert_array_equal(seen.boxes, [[2, 2, 8, 8], [20, 10, 30, 20]])


def test_a_reported_track_stays_until_nothing_of_it_is_seen() -> None:
    view = Look(Region.parsed('0 0 30 40')).at(SIZE)
    both = tracks([rectangle(25, 26, 30, 50), rectangle(25, 40, 30, 50)])
    seen = view.of_tracks(both, frozenset({1, 2}))
    assert seen.ids.tolist() == [1]
    np.testing.assert_array_equal(seen.boxes, [[26, 25, 30, 30]])


def test_only_what_was_reported_ends() -> None:
    view = Look(Region.parsed('0 0 30 40')).at(SIZE)
    ended = tracks([rectangle(0, 0, 5, 5), rectangle(0, 40, 5, 45)], ended=True)
    assert view.of_tracks(ended, frozenset({2})).ids.tolist() == [2]


def test_a_window_moves_tracks_into_the_frame() -> None:
    view = Look(Region.parsed('10 5 30 25'), crop=True).at(SIZE)
    assert view.window == (5, 10, 25, 30)
    found = tracks([rectangle(1, 2, 6, 9)])
    seen = view.of_tracks(found, frozenset())
    np.testing.assert_array_equal(seen.masks[0].to_full(*SIZE), rectangle(6, 12, 11, 19))
    np.testing.assert_array_equal(seen.boxes, [[12, 6, 19, 11]])
    image = np.arange(40 * 60 * 3, dtype=np.uint16).astype(np.uint8).reshape(40, 60, 3)
    np.testing.assert_array_equal(view.part(image), image[5:25, 10:30])
    assert view.part(image[::4, ::4]).shape == (5, 6, 3)
    assert view.wanted_size(lambda _size: (100, 100)) == (200, 300)


def test_boxes_end_with_the_window() -> None:
    view = Look(Region.parsed('10 5 30 25'), crop=True).at(SIZE)
    found = tracks([rectangle(1, 2, 6, 9)])
    wide = replace(found, boxes=found.boxes + np.array([[-9, -8, 33, 44]], np.float32))
    np.testing.assert_array_equal(
        view.of_tracks(wide, frozenset()).boxes, [[10, 5, 30, 25]])


def test_everywhere_changes_nothing() -> None:
    found = tracks([rectangle(1, 2, 6, 9)])
    assert View.whole(SIZE).of_tracks(found, frozenset()) is found
    image = np.zeros((*SIZE, 3), np.uint8)
    assert View.whole(SIZE).part(image) is image
