# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""`stmask train` and `stmask clips`, from files to files."""

from __future__ import annotations

import argparse
import json
import logging
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from pycocotools import mask as coco_mask

from stmask_ros.commands import training as command
from stmask_ros.evaluation.dataset import load_dataset
from stmask_ros.tracking.segmenter import load_segmenter

RUN = {
    'name': 'tiny', 'configuration': 'stmask_lite', 'classes': ['disc', 'thing'], 'out': 'out',
    'options': {
        'channels': 16, 'embedding_size': 8, 'temporal_channels': [16, 16, 16],
        'input_height': 64, 'input_width': 96, 'class_calibration': 'none',
    },
    'synthetic': [{
        'coco': [{
            'annotations': 'coco.json', 'images': '.', 'classes': {'names': {'ball': 'disc'}},
        }],
        'clips': {'height': 64, 'width': 96, 'frames': 4, 'objects': [1, 2]},
    }],
    'batch_size': 2, 'iterations': 2, 'freeze_batch_norm': False, 'workers': 1, 'log_every': 1,
}


def run(*words: object) -> int:
    parser = argparse.ArgumentParser()
    command.register(parser.add_subparsers())
    options = parser.parse_args([str(word) for word in words])
    return options.run(options)


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    """Return a run on one picture of a ball, in the format of COCO."""
    mask = np.zeros((80, 120), np.uint8)
    cv2.circle(mask, (60, 40), 35, 1, -1)
    image = np.random.default_rng(0).integers(0, 90, (80, 120, 3), np.uint8)
    image[mask > 0] = (30, 200, 240)
    cv2.imwrite(str(tmp_path / 'ball.png'), image)
    rle = coco_mask.encode(np.asfortranarray(mask))
    segmentation = {'size': [80, 120], 'counts': rle['counts'].decode()}
    (tmp_path / 'coco.json').write_text(json.dumps({
        'images': [{'id': 1, 'file_name': 'ball.png', 'height': 80, 'width': 120}],
        'categories': [{'id': 37, 'name': 'sports ball', 'supercategory': 'ball'}],
        'annotations': [{'id': 1, 'image_id': 1, 'category_id': 37, 'iscrowd': 0,
                         'segmentation': segmentation}],
    }))
    path = tmp_path / 'run.yaml'
    path.write_text(yaml.safe_dump(RUN))
    return path


def test_clips_become_training_and_validation(
    configuration: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = configuration.parent
    assert run('clips', configuration, '--out', folder / 'clips', '--count', 2) == 0
    assert len(load_dataset(folder / 'clips' / 'instances.json').videos) == 2
    data = {'annotations': 'clips/instances.json', 'images': 'clips/JPEGImages'}
    changes = {'videos': [data], 'validation': data, 'validate_every': 2, 'seed': 4}
    configuration.write_text(yaml.safe_dump(RUN | changes))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with caplog.at_level(logging.INFO):
        assert run('train', configuration, '--device', 'cpu') == 0
    torch.set_num_threads(threads)
    assert '2: AP 0.' in caplog.text
    segmenter = load_segmenter(folder / 'out' / 'tiny.yaml')
    assert segmenter.class_names == ('disc', 'thing')
    assert not segmenter.freshly_initialised


def test_a_run_that_begins_again_is_validated_again(configuration: Path) -> None:
    folder = configuration.parent
    assert run('clips', configuration, '--out', folder / 'clips', '--count', 1) == 0
    data = {'annotations': 'clips/instances.json', 'images': 'clips/JPEGImages'}
    kept = []
    for seed in (0, 1):
        changes = {'validation': data, 'validate_every': 2, 'seed': seed, 'log_every': 0}
        configuration.write_text(yaml.safe_dump(RUN | changes))
        if seed:
            assert run('train', configuration, '--device', 'cpu') == 1  # another seed
        options = ['--overwrite'] if seed else []
        assert run('train', configuration, '--device', 'cpu', *options) == 0
        kept.append(json.loads((folder / 'out/validation/000002/run.json').read_text()))
    shas = [settings['model'].pop('sha256') for settings in kept]
    assert shas[0] != shas[1]
    assert kept[0] == kept[1]


def test_a_run_goes_on_with_the_same_files_only(
    configuration: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert run('train', configuration, '--device', 'cpu') == 0
    longer = yaml.safe_load(configuration.read_text()) | {'iterations': 3}
    configuration.write_text(yaml.safe_dump(longer))
    assert run('train', configuration, '--device', 'cpu') == 0
    picture = configuration.parent / 'ball.png'
    picture.write_bytes(picture.read_bytes() + b' ')
    assert run('train', configuration, '--device', 'cpu') == 1
    assert 'synthetic.0.coco.0.images.bytes' in caplog.text


def test_a_folder_of_the_user_is_not_trained_into(
    configuration: Path, caplog: pytest.LogCaptureFixture
) -> None:
    configuration.write_text(yaml.safe_dump(RUN | {'out': '.', 'name': 'run'}))
    before = configuration.read_text()
    assert run('train', configuration, '--device', 'cpu') == 1
    assert '--overwrite' in caplog.text
    assert configuration.read_text() == before


@pytest.mark.parametrize(('changes', 'problem'), [
    ({'configuration': 'yolo'}, 'unknown configuration'),
    ({'log_every': -1}, 'log_every: expected 0 or more, got -1'),
    ({'initial_weights': 'missing.pth'}, 'missing.pth cannot be read'),
    ({'fresh': ['TemporalNet']}, 'expected initial_weights too'),
    ({'videos': [{'annotations': 'none.json', 'images': '.'}]}, 'none.json'),
    ({'synthetic': [{'coco': [{'annotations': 'run.yaml', 'images': '.'}]}]}, 'not as COCO'),
])
def test_what_is_wrong_is_said(
    configuration: Path, caplog: pytest.LogCaptureFixture, changes: dict, problem: str
) -> None:
    configuration.write_text(yaml.safe_dump(RUN | changes))
    assert run('train', configuration, '--device', 'cpu') == 1
    assert problem in caplog.text


@pytest.mark.parametrize(('family', 'name', 'options'), [
    ('sipmask', 'sipmask_tiny', {}), ('sgnet', 'sgnet_tiny', {}),
    ('sgnet', 'sgnet_tiny', {'motion': False, 'spatial_attention': True}),
])
def test_other_families_are_trained_by_name(
    family: str, name: str, options: dict[str, object], configuration: Path, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """On the same clips; and the model can be stepped."""
    content = yaml.safe_load(configuration.read_text())
    content |= {'family': family, 'configuration': name, 'options': options, 'iterations': 3,
                'learning_rate': 0.01, 'warm_up': 0, 'gap': 2}
    configuration.write_text(yaml.safe_dump(content))
    with caplog.at_level(logging.INFO):
        assert run('train', configuration, '--device', 'cpu') == 0
    segmenter = load_segmenter(tmp_path / 'out' / 'tiny.yaml')
    assert segmenter.model_description.family == family
    image = cv2.imread(str(tmp_path / 'ball.png'))
    (result,), _ = segmenter.step([image], [segmenter.initial_state()])
    assert np.isfinite(result.scores).all()
    if family == 'sgnet':
        motion = float(re.findall(r'motion (\S+)', caplog.text)[-1].strip(','))
        assert (motion > 0) == ('motion' not in options)
