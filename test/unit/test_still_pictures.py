# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""`stmask eval images`: boxes and masks of single pictures, scored as COCO scores them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from stmask_ros.cli import main
from stmask_ros.evaluation.dataset import DatasetError
from stmask_ros.evaluation.still_pictures import PictureAnnotations, score_pictures

MODEL = Path(__file__).resolve().parents[1] / 'ros' / 'untrained.yaml'
SIZE = (120, 160)
CATEGORIES = [
    {'id': 1, 'name': 'person', 'supercategory': 'person'},
    {'id': 17, 'name': 'cat', 'supercategory': 'animal'},
    {'id': 47, 'name': 'cup', 'supercategory': 'kitchen'},
]
# Picture, category, box; each fills its box but for the last row.
OBJECTS = [(1, 1, (10, 10, 60, 100)), (1, 17, (90, 20, 50, 50)), (2, 47, (30, 30, 40, 40))]


def filled(box: tuple[int, ...]) -> Any:
    x, y, width, height = box
    mask = np.zeros(SIZE, np.uint8)
    mask[y:y + height - 1, x:x + width] = 1
    return coco_mask.encode(np.asfortranarray(mask))


def document() -> dict[str, Any]:
    return {
        'images': [
            {'id': n, 'file_name': f'{n}.png', 'height': SIZE[0], 'width': SIZE[1]}
            for n in (1, 2)
        ],
        'categories': CATEGORIES,
        'annotations': [
            {'id': n, 'image_id': picture, 'category_id': category, 'bbox': list(box),
             'area': box[2] * (box[3] - 1), 'iscrowd': 0,
             'segmentation': filled(box) | {'counts': filled(box)['counts'].decode()}}
            for n, (picture, category, box) in enumerate(OBJECTS, 1)
        ],
    }


def detection(number: int, score: float, **changes: Any) -> dict[str, Any]:
    picture, category, box = OBJECTS[number]
    return {'image_id': picture, 'category_id': category, 'bbox': list(box), 'score': score,
            'segmentation': filled(box)} | changes


def test_perfect_detections_score_all() -> None:
    scores = score_pictures(PictureAnnotations(document()), [detection(n, 0.9) for n in range(3)],
                            0.5)
    assert scores.boxes.ap == pytest.approx(1)
    assert scores.masks.by_class == pytest.approx({'person': 1, 'cat': 1, 'cup': 1})
    assert (scores.recall, scores.objects) == (1, 3)
    assert scores.masks.medium == pytest.approx(1)
    assert np.isnan(scores.masks.small)


def test_each_mistake_costs_what_it_should() -> None:
    half = filled((30, 30, 40, 21))  # 20 of 39 rows: an IoU of 0.51
    scores = score_pictures(PictureAnnotations(document()), [
        detection(0, 0.9), detection(1, 0.9, category_id=47),
        detection(2, 0.4, segmentation=half),
    ], 0.5)
    # The cat is taken for a cup, before the cup: half of the cups are right, or of ten IoUs one.
    assert scores.boxes.by_class == pytest.approx({'person': 1, 'cat': 0, 'cup': 0.5})
    assert scores.masks.by_class == pytest.approx({'person': 1, 'cat': 0, 'cup': 0.05})
    assert scores.masks.ap50 == pytest.approx(0.5)
    assert scores.recall == pytest.approx(1 / 3)  # the cup is weaker than asked for


def test_nothing_seen_scores_zero() -> None:
    scores = score_pictures(PictureAnnotations(document()), [], 0.5)
    assert (scores.boxes.ap, scores.masks.ap, scores.recall) == (0, 0, 0)


def test_groups_are_those_of_the_supercategories() -> None:
    grouped = PictureAnnotations(document()).grouped()
    assert grouped.categories == {1: 'person', 2: 'animal', 3: 'vehicle', 4: 'object'}
    scores = score_pictures(grouped, [
        detection(1, 0.9, category_id=2), detection(2, 0.9, category_id=4),
    ], 0.5)
    assert scores.boxes.by_class == pytest.approx({'person': 0, 'animal': 1, 'object': 1})


@pytest.mark.parametrize('change', [
    {'categories': [{'id': 1}]}, {'annotations': [{'id': 1, 'image_id': 1}]}, {'images': [{}]},
])
def test_a_file_of_another_kind_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(DatasetError, match='not as COCO has it'):
        PictureAnnotations(document() | change)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ('1.png', '2.png'):
        cv2.imwrite(str(tmp_path / name), rng.integers(0, 255, (*SIZE, 3), np.uint8))
    (tmp_path / 'instances.json').write_text(json.dumps(document()))
    return tmp_path


def arguments(pictures: Path) -> list[str]:
    return ['eval', 'images', '--annotations', str(pictures / 'instances.json'),
            '--images', str(pictures), '--model', str(MODEL), '--device', 'cpu']


def test_the_command_scores_a_model(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = pictures / 'scores.json'
    assert main([*arguments(pictures), '--grouped', '--output', str(out)]) == 0
    assert '2 pictures, 3 objects' in capsys.readouterr().out
    scores = json.loads(out.read_text())
    assert 0 <= scores['masks']['ap'] <= 1
    assert set(scores['masks']['by_class']) == {'person', 'animal', 'object'}


def test_what_is_missing_is_named(
    pictures: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (pictures / '2.png').unlink()
    assert main([*arguments(pictures), '--grouped']) == 1
    assert '2.png' in caplog.text
