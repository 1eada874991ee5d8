# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Two crops of a still picture: what moves between them, and that masks move with it."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from stmask_ros.evaluation.dataset import DatasetError
from stmask_ros.training.config import CocoData, PictureData, TrainingConfig
from stmask_ros.training.crops import CropConfig, PictureClips
from stmask_ros.training.fingerprint import training_fingerprint
from stmask_ros.training.frames import ClassMap
from stmask_ros.training.warps import WarpedPictures

CLASSES = ClassMap(('square', 'thing'), {}, None)


def write(folder: Path, width: int = 320, height: int = 240) -> Path:
    """Write a dark picture with a white square of 80 pixels, a third of the way in."""
    image = np.full((height, width, 3), 20, np.uint8)
    x, y = width // 3, height // 3
    image[y:y + 80, x:x + 80] = 255
    cv2.imwrite(str(folder / 'picture.png'), image)
    document: dict[str, Any] = {
        'images': [{'id': 4, 'file_name': 'picture.png', 'height': height, 'width': width}],
        'categories': [{'id': 1, 'name': 'square'}, {'id': 2, 'name': 'unknown'}],
        'annotations': [
            {'id': n, 'image_id': 4, 'category_id': category, 'iscrowd': crowd,
             'bbox': [x, y, 80, 80], 'area': 6400,
             'segmentation': [[x, y, x + 80, y, x + 80, y + 80, x, y + 80]]}
            for n, (category, crowd) in enumerate([(1, 0), (2, 0)], 1)
        ],
    }
    (folder / 'instances.json').write_text(json.dumps(document))
    return folder


def pairs(folder: Path, **options: Any) -> PictureClips:
    return PictureClips(
        folder / 'instances.json', folder, CLASSES, CropConfig(90, 160, **options)
    )


@pytest.mark.parametrize('warped', [False, True])
def test_bad_entries_are_left_out_on_request(warped: bool, tmp_path: Path) -> None:
    """From the pictures that are learned from and from what tells the run from others."""
    file = write(tmp_path, 320, 240) / 'instances.json'
    document = json.loads(file.read_text())
    document['images'].append({'id': 5, 'file_name': 'a\0b.jpg', 'width': 320, 'height': 240})
    document['images'].append({'id': 6, 'width': 320, 'height': 240})
    document['annotations'].append({'id': 9, 'image_id': 77, 'category_id': 1})
    file.write_bytes(b'\xef\xbb\xbf' + json.dumps(document).encode())
    crops = functools.partial(PictureClips, config=CropConfig(90, 160))
    kind = WarpedPictures if warped else crops
    with pytest.raises(DatasetError, match=r'instances\.json: '):
        kind(file, tmp_path, CLASSES)
    assert len(kind(file, tmp_path, CLASSES, skip_bad=True)) > 0
    config = TrainingConfig(
        name='small', configuration='stmask_lite', classes=('a',), out=tmp_path / 'out',
        pictures=(PictureData(CocoData(file, tmp_path, skip_bad=True)),))
    assert training_fingerprint(config)['pictures']['0']['images']['files'] == 2


@pytest.mark.parametrize(('width', 'height'), [(320, 240), (240, 320), (640, 200)])
def test_masks_lie_on_their_pixels(width: int, height: int, tmp_path: Path) -> None:
    source = pairs(write(tmp_path, width, height), repeats=30)
    assert len(source) == 30
    shown = 0
    for number in range(30):
        for frame in source.clip(number, np.random.default_rng(number)):
            assert frame.image.shape == (90, 160, 3)
            assert frame.masks.shape == (1, 90, 160)
            assert (frame.labels.tolist(), frame.ids.tolist()) == ([1], [1])
            bright = frame.image.min(2) > 190
            # Apart from a rim of a pixel that is neither.
            differing = bright ^ frame.masks[0]
            assert differing.sum() <= 2 * (frame.masks[0].sum() ** 0.5 * 4 + 8)
            shown += frame.masks.any()
    assert shown > 30


def test_the_second_crop_is_the_first_a_moment_later(tmp_path: Path) -> None:
    source = pairs(write(tmp_path), around_objects=1.0, sizes=(0.4, 0.5))
    moved = 0
    for seed in range(20):
        first, second = (f.masks[0] for f in source.clip(0, np.random.default_rng(seed)))
        both = (first & second).sum() / (first | second).sum()
        assert both > 0.3
        moved += both < 0.95
    assert moved > 15


def test_the_same_draw_gives_the_same_pair(tmp_path: Path) -> None:
    source = pairs(write(tmp_path))
    one, other = (source.clip(0, np.random.default_rng(5)) for _ in range(2))
    for first, second in zip(one, other, strict=True):
        np.testing.assert_array_equal(first.image, second.image)
        np.testing.assert_array_equal(first.masks, second.masks)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'instances.json').write_text('{"images": []}')
    with pytest.raises(DatasetError, match='not as COCO has it'):
        pairs(tmp_path)


def test_a_picture_among_warped_copies(tmp_path: Path) -> None:
    """Masks move with what they show; the picture as it is comes at any place."""
    source = WarpedPictures(write(tmp_path) / 'instances.json', tmp_path, CLASSES)
    assert len(source) == 1
    places = set()
    for number in range(12):
        clip = source.clip(0, np.random.default_rng(number))
        assert len(clip) == 5
        for place, frame in enumerate(clip):
            assert frame.image.shape == (240, 320, 3) and frame.masks.shape == (1, 240, 320)
            bright = frame.image.min(2) > 120
            union = (bright | frame.masks[0]).sum()
            assert (bright & frame.masks[0]).sum() >= 0.85 * union
            if frame.masks[0].sum() == 6400 and frame.masks[0, 80:160, 106:186].all():
                places.add(place)
    assert len(places) > 2


def test_pictures_without_objects_make_no_clips(tmp_path: Path) -> None:
    nothing = ClassMap(('thing',), {}, None)
    with pytest.raises(DatasetError, match='no picture has 1 to 25 objects'):
        WarpedPictures(write(tmp_path) / 'instances.json', tmp_path, nothing)
