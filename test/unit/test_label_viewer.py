# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The masks that the shipped model proposes on photographs and video: clicked and carried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from annotated_clip import walking_cat

import stmask_ros.labelling.viewer
from stmask_ros.families.family import TrackerSettings
from stmask_ros.labelling.exchange import Picture
from stmask_ros.labelling.proposal import Click, Hints
from stmask_ros.labelling.viewer import Viewer
from stmask_ros.tracking.segmenter import load_segmenter

VIDEOS = ('blackswan', 'camel', 'car-shadow', 'dog')
FIRST, LATER = 10, 14


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory, shared_if_there: Path | None) -> Path:
    """Return a folder of pictures, and of masks as DAVIS has them: a cat, and real video."""
    folder = tmp_path_factory.mktemp('labels')
    clip = walking_cat('cat', LATER + 1)
    for kind, pictures in (('images', clip.frames), ('masks', clip.objects[0])):
        (folder / kind / 'cat').mkdir(parents=True)
        for number, pixels in enumerate(pictures):
            suffix = 'jpg' if kind == 'images' else 'png'
            grey = pixels if kind == 'images' else pixels * np.uint8(255)
            cv2.imwrite(str(folder / kind / 'cat' / f'{number:05d}.{suffix}'), grey)
    if shared_if_there is not None:
        davis = shared_if_there / 'data' / 'davis'
        for video in VIDEOS:
            (folder / 'images' / video).symlink_to(davis / 'JPEGImages' / video)
            (folder / 'masks' / video).symlink_to(davis / 'Annotations' / video)
    return folder


@pytest.fixture(scope='module')
def viewer(folder: Path) -> Viewer:
    settings = TrackerSettings(score_threshold=0.05)
    return Viewer(folder, load_segmenter('stmask_lite', 'cpu', settings))


def frame(folder: Path, video: str, number: int) -> tuple[Picture, np.ndarray]:
    """Return a picture and the mask of its object; skip without the real video."""
    masks = folder / 'masks' / video
    if video in VIDEOS and not masks.is_symlink():
        pytest.skip('the real video is not in ../shared/data/davis')
    mask = cv2.imread(str(masks / f'{number:05d}.png'), cv2.IMREAD_GRAYSCALE) > 127
    height, width = mask.shape
    return Picture(f'{video}/{number:05d}.jpg', height, width, 1, number), mask


def iou(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / max((first | second).sum(), 1))


def middle_of(mask: np.ndarray) -> tuple[float, float, float]:
    """Return x and y of the pixel deepest inside of a mask, and how deep it is."""
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    row, column = np.unravel_index(depth.argmax(), depth.shape)
    return float(column), float(row), float(depth.max())


def clicked(viewer: Viewer, picture: Picture, mask: np.ndarray, count: int) -> list[float]:
    """Return the IoU after each click of a person who always clicks the largest mistake."""
    found, clicks, ious = np.zeros_like(mask), (), []
    base = None
    for _ in range(count):
        missing, wrong = middle_of(mask & ~found), middle_of(found & ~mask)
        x, y, _ = max(missing, wrong, key=lambda place: place[2])
        clicks = (*clicks, Click(x, y, missing[2] >= wrong[2]))
        if len(clicks) == 1:
            base = viewer.candidate(picture, clicks[0])
        found = viewer.proposed(picture, Hints(clicks, base=base))
        ious.append(iou(found, mask))
    return ious


@pytest.mark.parametrize('videos', [('cat',), VIDEOS], ids=['cat', 'real video'])
def test_clicks_find_a_thing(
    videos: Sequence[str], viewer: Viewer, folder: Path,
    record_property: Callable[[str, object], None],
) -> None:
    ious = np.array([clicked(viewer, *frame(folder, video, FIRST), 3) for video in videos])
    record_property('IoU after one, two, three clicks', ious.mean(0).round(3).tolist())
    assert ious.mean(0)[0] > 0.6
    assert ious.mean(0)[2] > 0.75


@pytest.mark.parametrize('video', ['cat', *VIDEOS])
@pytest.mark.parametrize('finds_pixels', [True, False])
def test_a_mask_is_carried_with_its_pixels_or_by_temporal_fusion(
    finds_pixels: bool, video: str, viewer: Viewer, folder: Path,
    record_property: Callable[[str, object], None], monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not finds_pixels:
        monkeypatch.setattr(stmask_ros.labelling.viewer, 'followed', lambda *_: None)
    (before, mask), (now, moved) = frame(folder, video, FIRST), frame(folder, video, LATER)
    found = iou(next(viewer.carried(mask, [before, now])), moved)
    record_property('IoU carried, and where it was', (found, iou(mask, moved)))
    assert found > 0.8
    assert found > iou(mask, moved)
