# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What the reference sets do not show: its bugs handled right, bad files, ids that jump."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from scipy.optimize import linear_sum_assignment

from stmask_ros.commands.eval_json import main
from stmask_ros.evaluation import (
    Dataset,
    DatasetError,
    PredictedTrack,
    evaluate_identity,
    evaluate_vis,
    load_dataset,
    load_predictions,
    write_predictions,
)
from stmask_ros.evaluation.dataset import parse_dataset, parse_predictions
from stmask_ros.evaluation.identity_counts import FrameOverlaps, count_identities
from stmask_ros.evaluation.rle import MaskSequence

HEIGHT, WIDTH, LENGTH = 20, 30, 4
Box = tuple[int, int, int, int]


def rle(box: Box | None, size: tuple[int, int] = (HEIGHT, WIDTH)) -> dict[str, Any] | None:
    if box is None:
        return None
    x, y, width, height = box
    pixels = np.zeros(size, np.uint8, order='F')
    pixels[y:y + height, x:x + width] = 1
    encoded = coco_mask.encode(pixels)
    return {'size': list(size), 'counts': encoded['counts'].decode('ascii')}


def annotation(key: int, boxes: list[Box | None], **changes: Any) -> dict[str, Any]:
    return {
        'id': key, 'video_id': 1, 'category_id': 1, 'iscrowd': 0,
        'segmentations': [rle(box) for box in boxes],
        'areas': [None if box is None else box[2] * box[3] for box in boxes],
        **changes,
    }


def result(boxes: list[Box | None], score: float = 0.9, **changes: Any) -> dict[str, Any]:
    return {
        'video_id': 1, 'category_id': 1, 'score': score,
        'segmentations': [rle(box) for box in boxes], **changes,
    }


def truth(*annotations: dict[str, Any]) -> dict[str, Any]:
    return {
        'videos': [{'id': 1, 'height': HEIGHT, 'width': WIDTH, 'length': LENGTH}],
        'categories': [{'id': 1, 'name': 'dog'}, {'id': 2, 'name': 'cat'}],
        'annotations': list(annotations),
    }


def parse(
    annotations: list[dict[str, Any]], results: list[dict[str, Any]]
) -> tuple[Dataset, list[PredictedTrack]]:
    dataset = parse_dataset(truth(*annotations))
    return dataset, parse_predictions(results, dataset)


STILL: list[Box | None] = [(2, 2, 10, 10)] * LENGTH
OTHER: list[Box | None] = [(15, 5, 10, 10)] * LENGTH


def test_object_with_id_0_can_be_found() -> None:
    evaluated = parse([annotation(0, STILL)], [result(STILL)])
    assert evaluate_vis(*evaluated).summary.ap == pytest.approx(1)
    assert evaluate_vis(*evaluated, reference_quirks=True).summary.ap == 0


def test_masks_of_another_size_have_nothing_in_common() -> None:
    wrong = result(STILL)
    wrong['segmentations'][0] = rle((2, 2, 10, 10), (2 * HEIGHT, 2 * WIDTH))
    evaluated = parse([annotation(1, STILL)], [wrong])
    assert evaluate_vis(*evaluated).iou_matrices[1, 1][0, 0] == pytest.approx(3 / 5)
    quirky = evaluate_vis(*evaluated, reference_quirks=True)
    assert quirky.iou_matrices[1, 1][0, 0] == 1


@pytest.mark.parametrize(('frames', 'iou'), [(2, 2 / 4), (6, 4 / 6)])
def test_frames_that_only_one_track_lists_cost(frames: int, iou: float) -> None:
    evaluated = parse([annotation(1, STILL)], [result([(2, 2, 10, 10)] * frames)])
    assert evaluate_vis(*evaluated).iou_matrices[1, 1][0, 0] == pytest.approx(iou)
    quirky = evaluate_vis(*evaluated, reference_quirks=True)
    assert quirky.iou_matrices[1, 1][0, 0] == 1


def test_no_predictions_score_zero() -> None:
    evaluated = parse([annotation(1, STILL)], [])
    summary = evaluate_vis(*evaluated).summary
    assert (summary.ap, summary.ap_small, summary.ar100) == (0, 0, 0)
    assert summary.ap_large == -1
    identity = evaluate_identity(*evaluated).detection_average
    assert (identity.hota, identity.idf1, identity.clear_fn) == (0, 0, LENGTH)


def test_no_annotations_leave_the_scores_undefined() -> None:
    assert evaluate_vis(*parse([], [result(STILL)])).summary.ap == -1


def test_swapped_ids_are_switches_that_ap_hardly_sees() -> None:
    swapped = [STILL[0], STILL[0], OTHER[0], OTHER[0]]
    swapped_back = [OTHER[0], OTHER[0], STILL[0], STILL[0]]
    scores = evaluate_identity(*parse(
        [annotation(1, STILL), annotation(2, OTHER)], [result(swapped), result(swapped_back)]
    )).per_category[1]
    assert scores.id_switches == 2
    assert (scores.clear_tp, scores.clear_fp, scores.clear_fn) == (8, 0, 0)
    assert scores.mota == pytest.approx((8 - 2) / 8)
    assert scores.idf1 == pytest.approx(0.5)
    assert scores.deta == pytest.approx(1)
    assert scores.assa == pytest.approx(2 / (4 + 4 - 2))


def test_score_threshold_drops_unsure_tracks_from_the_identity_metrics() -> None:
    evaluated = parse([annotation(1, STILL)], [result(STILL, 0.9), result(OTHER, 0.2)])
    assert evaluate_identity(*evaluated).detection_average.clear_fp == LENGTH
    strict = evaluate_identity(*evaluated, score_threshold=0.9).detection_average
    assert (strict.clear_fp, strict.mota) == (0, 1)


@pytest.mark.parametrize('name', ['results.json', 'submission.zip'])
def test_written_results_read_back_the_same(tmp_path: Path, name: str) -> None:
    dataset, predictions = parse([annotation(1, STILL)], [result([None, *STILL[1:]], 0.25)])
    write_predictions(tmp_path / name, predictions)
    [again] = load_predictions(tmp_path / name, dataset)
    assert (again.video_id, again.category_id, again.score) == (1, 1, 0.25)
    assert again.sequence.masks == predictions[0].sequence.masks
    assert again.sequence.areas.tolist() == [0, 100, 100, 100]


BAD_RESULTS = [
    ({'results': []}, 'expected a list of results, got dict'),
    ([3], 'results[0]: expected an object, got int 3'),
    ([result(STILL), result(STILL, video_id=7)], 'results[1]: video_id 7 is not among the videos'),
    ([result(STILL, score=float('nan'))],
     "results[0]: 'score': expected a finite number, got nan"),
    ([result(STILL, segmentations='x')], "'segmentations': expected a list, got 'x'"),
    ([{'video_id': 1, 'category_id': 1, 'score': 1}], "results[0]: 'segmentations' is missing"),
    ([result(STILL, segmentations=[None, {'size': [2, 2], 'counts': [1, 2]}])],
     'entry 1: the runs add up to 3 pixels, but size [2, 2] has 4'),
    ([result(STILL, segmentations=[{'size': [2, 2], 'counts': [6, -2]}])],
     'entry 0: expected whole numbers from 0 to 2**32 - 1 as runs, got [6, -2]'),
    ([result(STILL, segmentations=[{'size': [2, 2], 'counts': [1, 2**32, 0]}])],
     'entry 0: expected whole numbers from 0 to 2**32 - 1 as runs, got [1, 4294967296, 0]'),
    ([result(STILL, segmentations=[{'size': [2, 2], 'counts': [2**32 - 1, 5]}])],
     'entry 0: the runs add up to 4294967300 pixels, but size [2, 2] has 4'),
    ([result(STILL, segmentations=[{'size': [2], 'counts': '04'}])],
     'entry 0: expected a size of [height, width], got [2]'),
    ([result(STILL, segmentations=[{'size': [2, 2], 'counts': '0~'}])],
     'compressed RLE text as counts'),
    ([result(STILL, segmentations=[{'size': [2, 2], 'counts': '0d0'}])],
     'entry 0: 20 pixels in a mask of size [2, 2]'),
    ([result(STILL, segmentations=[[[1, 1, 5, 5]]])], 'at least three x, y pairs'),
]


@pytest.mark.parametrize(('document', 'message'), BAD_RESULTS)
def test_bad_results_are_refused_with_the_place(document: Any, message: str) -> None:
    with pytest.raises(DatasetError) as caught:
        parse_predictions(document, parse_dataset(truth(annotation(1, STILL))))
    assert message in str(caught.value)


def test_results_that_cannot_score_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    parse([annotation(1, STILL)], [result(STILL), result(STILL[:2], category_id=9)])
    assert [record.getMessage() for record in caplog.records] == [
        'predictions: 1 of 2 results have a category_id that the ground truth does not have',
        'predictions: 1 of 2 results have more or fewer frames than their video',
    ]


BAD_TRUTHS = [
    ([], 'expected an object'),
    ({'videos': []}, "'categories' is missing"),
    (truth(annotation(1, STILL), annotation(1, STILL)), 'annotation id 1 occurs more than once'),
    (truth(annotation(1, STILL, areas=['x'])), "annotations[0]: 'areas': expected a list of"),
]


@pytest.mark.parametrize(('document', 'message'), BAD_TRUTHS)
def test_bad_annotations_are_refused_with_the_place(document: Any, message: str) -> None:
    with pytest.raises(DatasetError) as caught:
        parse_dataset(document)
    assert message in str(caught.value)


@pytest.mark.parametrize('text', [
    b'\xff{', b'{"videos": [], "categories": [], "annotations": [{"id": }]}',
])
def test_file_that_is_no_json_is_named(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / 'annotations.json'
    path.write_bytes(text)
    with pytest.raises(DatasetError, match=r'annotations\.json: not a JSON file'):
        load_dataset(path)


def test_command_prints_tables_and_writes_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth_path, result_path = tmp_path / 'gt.json', tmp_path / 'pred.json'
    truth_path.write_text(json.dumps(truth(annotation(1, STILL))))
    result_path.write_text(json.dumps([result(STILL)]))
    output = tmp_path / 'scores.json'
    assert main([str(truth_path), str(result_path), '--output', str(output)]) == 0
    assert 'mean of classes' in capsys.readouterr().out
    numbers = json.loads(output.read_text())
    assert numbers['vis']['summary']['AP50'] == pytest.approx(1)
    assert numbers['identity']['per_category']['1']['HOTA'] == pytest.approx(1)
    assert main([str(result_path), str(result_path)]) == 1


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.sampled_from([0, 0.02, 0.5, 1]))
def test_decoded_masks_encode_to_the_same_text(seed: int, scale: int, share: float) -> None:
    generator = np.random.default_rng(seed)
    masks = [
        None if generator.random() < 0.2 else coco_mask.encode(np.asfortranarray(
            np.kron(generator.random((9, 7)) < share, np.ones((scale, scale))), dtype=np.uint8
        ))
        for _ in range(6)
    ]
    sequence = MaskSequence.from_masks([written(mask, generator) for mask in masks])
    assert sequence.masks == masks
    assert sequence.areas.tolist() == [
        0 if mask is None else coco_mask.area(mask) for mask in masks
    ]


def written(mask: Any, generator: np.random.Generator) -> Any:
    """Return the mask with its counts as bytes, as text or as a list of runs."""
    way = generator.integers(3)
    if mask is None or way == 0:
        return mask
    if way == 1:
        return {**mask, 'counts': mask['counts'].decode('ascii')}
    pixels = coco_mask.decode(mask).ravel('F')
    edges = np.flatnonzero(np.diff(pixels, prepend=0))
    return {**mask, 'counts': np.diff(edges, prepend=0, append=pixels.size).tolist()}


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 4))
def test_clear_counts_equal_those_of_a_walk_through_all_frames(
    seed: int, truths: int, predictions: int
) -> None:
    generator = np.random.default_rng(seed)
    true_present = generator.random((3, 12, truths)) < 0.8
    predicted_present = generator.random((3, 12, predictions)) < 0.8
    iou = generator.random((3, 12, truths, predictions)) ** generator.uniform(0.3, 2)
    iou *= true_present[:, :, :, None] & predicted_present[:, :, None]
    overlaps = FrameOverlaps(iou, true_present, predicted_present)
    counts = count_identities(overlaps).clear
    found = zip(counts.matches, counts.id_switches, counts.fragmentations, strict=True)
    assert list(found) == [walked(overlaps, group) for group in range(3)]


def walked(overlaps: FrameOverlaps, group: int) -> tuple[float, float, float]:
    previous: dict[int, int] = {}
    last: dict[int, int] = {}
    matches = switches = fragmentations = 0
    for frame, iou in enumerate(overlaps.iou[group]):
        true, predicted = overlaps.true_present[group], overlaps.predicted_present[group]
        if not true[frame].any() or not predicted[frame].any():
            continue
        scores = np.where(iou >= 0.5, iou, 0)
        for row, column in previous.items():
            scores[row, column] += 1000 * (scores[row, column] > 0)
        pairs = zip(*linear_sum_assignment(scores, maximize=True), strict=True)
        found = {row: column for row, column in pairs if scores[row, column] > 0}
        matches += len(found)
        switches += sum(last.get(row, column) != column for row, column in found.items())
        fragmentations += sum(row in last and row not in previous for row in found)
        previous = found
        last.update(previous)
    return matches, switches, fragmentations
