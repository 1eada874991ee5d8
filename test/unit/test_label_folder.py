# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The folder that is labelled: what is written is read again, and evaluation reads it as it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from stmask_ros.evaluation.annotations import load_annotations
from stmask_ros.evaluation.dataset import Category, DatasetError
from stmask_ros.labelling.folder import (
    LabelFrame,
    Labels,
    LabelTrack,
    LabelVideo,
    check_pictures,
    decoded,
    encoded,
    read_labels,
    write_labels,
)

HEIGHT, WIDTH = 48, 64


def square(left: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[10:30, left:left + 15] = True
    return mask


def some_labels() -> Labels:
    frames = (
        LabelFrame('000000.jpg', 10, True, 'first'), LabelFrame('000007.jpg', 20, False, 'unsure'))
    return Labels(
        (LabelVideo(1, HEIGHT, WIDTH, frames),),
        (Category(1, 'pallet'), Category(2, 'dock')),
        (LabelTrack(3, 1, 1, (encoded(square(5)), None), carrying={0: 2}),
         LabelTrack(8, 1, 1, (encoded(square(25)), encoded(square(30))), True, frozenset({1}))),
    )


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    write_labels(tmp_path, some_labels())
    assert read_labels(tmp_path) == some_labels()
    track = read_labels(tmp_path).tracks[1]
    assert track.masks[1] is not None
    assert (decoded(track.masks[1]) == square(30)).all()


def test_evaluation_reads_it_as_any_youtube_vis_file(tmp_path: Path) -> None:
    write_labels(tmp_path, some_labels())
    dataset = load_annotations(tmp_path / 'annotations.json').dataset
    assert [track.id for track in dataset.tracks] == [3, 8]
    assert dataset.videos[0].stamps == (10, 20)
    assert [category.name for category in dataset.categories] == ['pallet', 'dock']


def test_other_files_are_taken_for_labelled(tmp_path: Path) -> None:
    write_labels(tmp_path, some_labels())
    path = tmp_path / 'annotations.json'
    document = json.loads(path.read_text())
    for name in ('labelled', 'reasons', 'stamps'):
        del document['videos'][0][name]
    path.write_text(json.dumps(document))
    (video,) = read_labels(tmp_path).videos
    assert video.frames[1] == LabelFrame('000007.jpg', None, True, '')


@pytest.mark.parametrize(('name', 'value', 'words'), [
    ('labelled', [True], 'expected 2 values, true or false'),
    ('labelled', [1, 0], 'expected 2 values, true or false'),
    ('reasons', ['', 3], 'expected 2 values, texts'),
])
def test_odd_lists_are_refused(tmp_path: Path, name: str, value: Any, words: str) -> None:
    write_labels(tmp_path, some_labels())
    path = tmp_path / 'annotations.json'
    document = json.loads(path.read_text())
    document['videos'][0][name] = value
    path.write_text(json.dumps(document))
    with pytest.raises(DatasetError, match=words):
        read_labels(tmp_path)


@pytest.mark.parametrize(('key', 'values', 'words'), [
    ('carried', [[2], [-1], [True], ['0']], 'expected frames from 0 to 1'),
    ('carrying', [[[0]], [[0, 3]], [[0, 0]], [[1, 2]], [[-1, 1]], [[0, '1']], [0]],
     'pairs of a frame with a mask, and a later one'),
])
def test_frames_that_are_not_there_are_refused(
    tmp_path: Path, key: str, values: list[Any], words: str
) -> None:
    write_labels(tmp_path, some_labels())
    path = tmp_path / 'annotations.json'
    document = json.loads(path.read_text())
    for value in values:
        document['annotations'][0][key] = value
        path.write_text(json.dumps(document))
        with pytest.raises(DatasetError, match=words):
            read_labels(tmp_path)


def test_labels_that_do_not_fit_are_not_written(tmp_path: Path) -> None:
    labels = some_labels()
    write_labels(tmp_path, labels)
    before = (tmp_path / 'annotations.json').read_bytes()
    short = replace(labels.tracks[0], masks=labels.tracks[0].masks[:1])
    small = replace(labels.tracks[0], masks=(encoded(np.ones((5, 6), bool)), None))
    for track, words in ((short, '1 masks: expected one for each'), (small, 'a mask of 6x5')):
        with pytest.raises(DatasetError, match=words):
            write_labels(tmp_path, replace(labels, tracks=(track,)))
    assert (tmp_path / 'annotations.json').read_bytes() == before


def test_pictures_that_do_not_fit_are_named(tmp_path: Path) -> None:
    labels = some_labels()
    (tmp_path / 'images').mkdir()
    cv2.imwrite(str(tmp_path / 'images' / '000000.jpg'), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    with pytest.raises(DatasetError, match=r'000007\.jpg: no such picture'):
        check_pictures(tmp_path, labels)
    cv2.imwrite(str(tmp_path / 'images' / '000007.jpg'), np.zeros((20, 30, 3), np.uint8))
    with pytest.raises(DatasetError, match='30x20 pixels, but the annotations are for 64x48'):
        check_pictures(tmp_path, labels)


def test_a_folder_without_annotations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match='stmask bag export'):
        read_labels(tmp_path)
