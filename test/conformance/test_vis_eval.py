# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The metrics against the numbers of the reference metric and of TrackEval, to 1e-9."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from stmask_ros.evaluation import (
    IdentityReport,
    VisReport,
    evaluate_identity,
    evaluate_vis,
    load_dataset,
    load_predictions,
    measure_overlaps,
)
from stmask_ros.evaluation.report import identity_numbers, vis_numbers
from stmask_ros.evaluation.rle import read_masks

FOLDER = Path(__file__).resolve().parent / 'data' / 'vis_eval'
SETS = sorted(path.parent.name for path in FOLDER.glob('*/expected.json'))
TOLERANCE = 1e-9

Evaluated = tuple[VisReport, IdentityReport, dict[str, Any], dict[int, str]]


@pytest.fixture(scope='module', params=SETS)
def evaluated(request: pytest.FixtureRequest) -> Evaluated:
    folder = FOLDER / request.param
    dataset = load_dataset(folder / 'gt.json')
    predictions = load_predictions(folder / 'pred.json', dataset)
    overlaps = measure_overlaps(dataset, predictions)
    return (
        evaluate_vis(dataset, predictions, reference_quirks=True, overlaps=overlaps),
        evaluate_identity(dataset, predictions, overlaps=overlaps),
        json.loads((folder / 'expected.json').read_text()),
        {category.id: category.name for category in dataset.categories},
    )


def test_the_sets_are_there() -> None:
    assert len(SETS) >= 13


def test_summaries(evaluated: Evaluated) -> None:
    report, _, expected, _ = evaluated
    assert vis_numbers(report.summary) == pytest.approx(expected['ytvos'], abs=TOLERANCE)
    assert vis_numbers(report.class_agnostic) == pytest.approx(
        expected['ytvos_class_agnostic'], abs=TOLERANCE
    )


def test_every_category_and_threshold(evaluated: Evaluated) -> None:
    report, _, expected, _ = evaluated
    assert {str(key) for key in report.per_category} >= set(expected['ytvos_per_category'])
    for key, numbers in expected['ytvos_per_category'].items():
        found = vis_numbers(report.per_category[int(key)])
        assert {name: found[name] for name in numbers} == pytest.approx(numbers, abs=TOLERANCE)
    found = {f'{threshold:.2f}': value for threshold, value in report.ap_per_iou.items()}
    assert found == pytest.approx(expected['ytvos_AP_per_iou'], abs=TOLERANCE)


def test_iou_matrices(evaluated: Evaluated) -> None:
    report, _, expected, _ = evaluated
    with_detections = {
        f'{video},{category}': iou
        for (video, category), iou in report.iou_matrices.items() if len(iou)
    }
    assert set(with_detections) == {key for key, rows in expected['ytvos_ious'].items() if rows}
    for key, iou in with_detections.items():
        np.testing.assert_allclose(
            iou, np.array(expected['ytvos_ious'][key]), rtol=0, atol=TOLERANCE
        )


def test_identity_metrics(evaluated: Evaluated) -> None:
    _, report, expected, names = evaluated
    if expected['trackeval'] is None:
        # TrackEval refuses the set; ours has numbers.
        assert 'no_trackeval' in expected['flags'] and report.per_category
        return
    found = {names[key]: scores for key, scores in report.per_category.items()}
    found['cls_comb_cls_av'] = report.class_average
    found['cls_comb_det_av'] = report.detection_average
    assert set(found) == set(expected['trackeval'])
    for key, numbers in expected['trackeval'].items():
        assert identity_numbers(found[key]) == pytest.approx(numbers, abs=TOLERANCE), key


def test_polygons_fill_the_pixels_of_the_reference() -> None:
    vectors = FOLDER / 'rle_primitives.json'
    cases = json.loads(vectors.read_text())
    assert len(cases['polygon_to_rle']) == 60
    for case in cases['polygon_to_rle']:
        height, width = case['size']
        masks = read_masks([case['polygons'], case['rle']], height, width)
        pixels = np.dstack([coco_mask.decode([mask]) for mask in masks])
        assert pixels[..., 0].sum() == case['area']
        assert np.array_equal(pixels[..., 0], pixels[..., 1])
