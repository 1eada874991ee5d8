# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Commands on a model of MS-STS: frame by frame, whole videos, and what cannot be done."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from annotated_clip import crossing_shapes, write_dataset
from pycocotools import mask as coco_mask
from small_models import noise

from stmask_ros.cli import main
from stmask_ros.families.errors import InvalidImageError, ModelError
from stmask_ros.tracking.segmenter import load_segmenter

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / 'test/models/msts.yaml'
FRAME_BY_FRAME = ROOT / 'test/ros/untrained.yaml'


@pytest.fixture(autouse=True)
def _same_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope='module')
def dataset(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp('dataset')
    return write_dataset(folder, [crossing_shapes(f'shapes{seed}', 4, seed) for seed in (1, 2)])


def arguments(dataset: tuple[Path, Path], model: Path, out: Path) -> list[str]:
    annotations, images = dataset
    return ['eval', 'dataset', '--annotations', str(annotations), '--images', str(images),
            '--model', str(model), '--device', 'cpu', '--out', str(out)]


def test_frame_by_frame(dataset: tuple[Path, Path], tmp_path: Path) -> None:
    assert main(arguments(dataset, MODEL, tmp_path)) == 0
    results = json.loads((tmp_path / 'results.json').read_text())
    assert {entry['video_id'] for entry in results} == {1, 2}


def test_whole_videos(dataset: tuple[Path, Path], tmp_path: Path) -> None:
    assert main([*arguments(dataset, MODEL, tmp_path), '--whole-video']) == 0
    results = json.loads((tmp_path / 'results.json').read_text())
    assert {entry['video_id'] for entry in results} == {1, 2}
    assert all(len(entry['segmentations']) == 4 for entry in results)
    # What Python says of the first video.
    segmenter = load_segmenter(MODEL)
    images = crossing_shapes('shapes1', 4, 1).frames
    found = segmenter.whole_video(list(images))
    first = [entry for entry in results if entry['video_id'] == 1]
    assert [entry['score'] for entry in first] == pytest.approx([its.score for its in found])
    for entry, instance in zip(first, found, strict=True):
        for rle, mask in zip(entry['segmentations'], instance.masks, strict=True):
            pixels = mask.to_full(*images[0].shape[:2])
            assert abs(int(coco_mask.area(rle)) - np.count_nonzero(pixels)) <= 3


def test_a_run_of_another_kind_is_not_gone_on_with(
    dataset: tuple[Path, Path], tmp_path: Path
) -> None:
    assert main(arguments(dataset, MODEL, tmp_path)) == 0
    assert main([*arguments(dataset, MODEL, tmp_path), '--whole-video']) == 1


def test_other_networks_refuse_whole_videos(
    dataset: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    command = [*arguments(dataset, FRAME_BY_FRAME, tmp_path / 'out'), '--whole-video']
    assert main(command) == 1
    assert 'leave the option out' in caplog.text
    assert not (tmp_path / 'out').exists()
    with pytest.raises(ModelError, match='frame by frame'):
        load_segmenter(FRAME_BY_FRAME).whole_video([noise(0)])


def test_wrong_videos_are_refused() -> None:
    segmenter = load_segmenter(MODEL)
    with pytest.raises(ValueError, match='at least one'):
        segmenter.whole_video([])
    with pytest.raises(InvalidImageError, match='one size'):
        segmenter.whole_video([noise(0), noise(0, 40)])
    with pytest.raises(InvalidImageError):
        segmenter.whole_video([noise(0)[..., 0]])


def test_a_class_of_its_own_is_never_named() -> None:
    # The first and the last logit belong to no category.
    segmenter = load_segmenter(MODEL)
    for instance in segmenter.whole_video([noise(seed) for seed in range(3)]):
        assert 1 <= instance.class_id <= len(segmenter.class_names)
    (result,), _ = segmenter.step([noise(0)], [segmenter.initial_state()])
    assert len(result)
    assert set(result.class_ids) <= {1, 2, 3, 4}


def test_weights_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['weights']) == 0
    lines = capsys.readouterr().out
    for name in ('MSTS_resnet50', 'MSTS_resnet101', 'SeqFormer_resnet50', 'SeqFormer_resnet101'):
        assert name in lines
