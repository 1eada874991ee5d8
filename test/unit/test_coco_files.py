# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""COCO's format as tools export it: what is read, and what names the entry that is wrong."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pycocotools import mask as coco_mask

from stmask_ros.cli import main
from stmask_ros.evaluation.coco_file import parse_coco
from stmask_ros.evaluation.dataset import DatasetError, parse_dataset
from stmask_ros.evaluation.rle import MaskSequence, read_masks
from stmask_ros.evaluation.still_pictures import PictureAnnotations, score_pictures

GOOD = [5, 5, 25, 5, 25, 25, 5, 25]
COCO: dict[str, Any] = {
    'images': [{'id': n, 'file_name': f'{n}.jpg', 'height': 48, 'width': 64} for n in (0, 1)],
    'categories': [{'id': 0, 'name': 'ball'}],
    'annotations': [
        {'id': n, 'image_id': n, 'category_id': 0, 'bbox': [5, 5, 20, 20], 'area': 400,
         'iscrowd': 0, 'segmentation': [GOOD]} for n in (0, 1)
    ],
}


@pytest.mark.parametrize('parts', [
    [GOOD, [3, 3, 4, 4]], [GOOD, [3, 3]], [GOOD, []], [[*GOOD, 7]], [GOOD, [1, 1, 2]],
    [GOOD, [3, 3, 9, 9, 3, 3]], [GOOD, [-9, -9, 90, -9, 90, 3]], [[0.5 * x for x in GOOD]],
    [GOOD, [x + 20 for x in GOOD]],
])
def test_degenerate_parts_are_read_as_pycocotools_reads_them(parts: list[list[float]]) -> None:
    expected = coco_mask.area(coco_mask.merge(coco_mask.frPyObjects(parts, 48, 64)))
    for order in (parts, parts[::-1]):
        masks = read_masks([order], 48, 64)
        assert MaskSequence.from_masks(masks).areas[0] == expected
    assert len(parse_dataset({
        'videos': [{'id': 1, 'width': 64, 'height': 48, 'length': 1}],
        'categories': [{'id': 1, 'name': 'a'}],
        'annotations': [{'id': 1, 'video_id': 1, 'category_id': 1, 'segmentations': [parts]}],
    }).tracks) == 1


def perfect(category: int) -> list[dict[str, Any]]:
    return [
        {'image_id': entry['image_id'], 'category_id': category, 'bbox': entry['bbox'],
         'score': 0.9, 'segmentation': read_masks([entry['segmentation']], 48, 64)[0]}
        for entry in COCO['annotations']
    ]


def test_an_annotation_of_id_0_is_matched() -> None:
    """As Roboflow and Label Studio number them; pycocotools alone takes 0 for no match."""
    scores = score_pictures(PictureAnnotations(COCO), perfect(0), 0.5)
    assert scores.masks.ap == pytest.approx(1)
    assert (scores.recall, scores.objects) == (1, 2)


@pytest.mark.parametrize('name', ['area', 'bbox', 'iscrowd'])
def test_what_follows_from_the_mask_may_be_missing(name: str) -> None:
    document = copy.deepcopy(COCO)
    for entry in document['annotations']:
        del entry[name]
    scores = score_pictures(PictureAnnotations(document), perfect(0), 0.5)
    assert scores.masks.ap == scores.boxes.ap == pytest.approx(1)


Change = Callable[[dict[str, Any]], Any]
WRONG: dict[str, tuple[Change, str]] = {
    'a box without a mask': (
        lambda c: c['annotations'][1].pop('segmentation'), r'\(id 1\): it has no mask'),
    'an empty mask': (
        lambda c: c['annotations'][1].update(segmentation=[]), r'\(id 1\): it has no mask'),
    'an unknown class': (lambda c: c['annotations'][1].update(category_id=7), 'category_id 7'),
    'an unknown picture': (lambda c: c['annotations'][1].update(image_id=9), 'image_id 9'),
    'the same id twice': (lambda c: c['annotations'][1].update(id=0), 'more than once'),
    'NaN': (lambda c: c['annotations'][1].update(segmentation=[[float('nan')] * 6]), 'finite'),
    'a huge picture': (lambda c: c['images'][1].update(height=10**9), r'images\[1\] \(id 1\)'),
    'a picture of no pixels': (lambda c: c['images'][1].update(height=0), '1 to 65536 pixels'),
    'a mask of another size': (
        lambda c: c['annotations'][1].update(segmentation={'size': [4, 4], 'counts': [16]}),
        'expected a mask of 64x48'),
    'a far point': (
        lambda c: c['annotations'][1].update(segmentation=[[0, 0, 1e300, 0, 9, 9]]), 'finite'),
    'an endless outline': (
        lambda c: c['annotations'][1].update(segmentation=[[-9e6, 0, 9e6, 9] * 99]), 'too long'),
    'a name that is a number': (lambda c: c['images'][1].update(file_name=3), "'file_name'"),
}


@pytest.mark.parametrize('what', WRONG)
def test_what_is_wrong_is_named_or_left_out(what: str, caplog: pytest.LogCaptureFixture) -> None:
    change, text = WRONG[what]
    document = copy.deepcopy(COCO)
    change(document)
    with pytest.raises(DatasetError, match=text) as caught:
        parse_coco(document, 'a.json')
    assert 'not as COCO has it: a.json: ' in str(caught.value)
    left = parse_coco(document, 'a.json', skip_bad=True)
    assert list(left.objects) == [0]
    assert 'bad entries; the first: a.json: ' in caplog.text


def test_the_command_goes_on_with_skip_bad(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    truth = {
        'videos': [{'id': 1, 'width': 64, 'height': 48, 'length': 1}],
        'categories': [{'id': 1, 'name': 'a'}],
        'annotations': [
            {'id': n, 'video_id': 1, 'category_id': n, 'segmentations': [[GOOD]]} for n in (1, 2)],
    }
    results = [
        {'video_id': 1, 'category_id': 1, 'score': score, 'segmentations': [[GOOD]]}
        for score in (0.5, float('nan'))
    ]
    for name, document in (('truth', truth), ('results', results)):
        (tmp_path / f'{name}.json').write_text(json.dumps(document))
    command = ['eval', 'json', str(tmp_path / 'truth.json'), str(tmp_path / 'results.json')]
    assert main(command) == 1
    assert 'truth.json: annotations[1]: category_id 2 is not among' in caplog.text
    with caplog.at_level(logging.WARNING):
        assert main([*command, '--skip-bad']) == 0
    assert caplog.text.count('left out 1 bad entries') == 2
