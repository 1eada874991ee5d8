"""`stmask train` and `stmask clips`, from files to files."""

from __future__ import annotations

import argparse
import json
import logging
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


@pytest.mark.parametrize(('changes', 'problem'), [
    ({'configuration': 'yolo'}, 'unknown configuration'),
    ({'initial_weights': 'missing.pth'}, 'missing.pth cannot be read'),
    ({'videos': [{'annotations': 'none.json', 'images': '.'}]}, 'none.json'),
    ({'synthetic': [{'coco': [{'annotations': 'run.yaml', 'images': '.'}]}]}, 'not as COCO'),
])
def test_what_is_wrong_is_said(
    configuration: Path, caplog: pytest.LogCaptureFixture, changes: dict, problem: str
) -> None:
    configuration.write_text(yaml.safe_dump(RUN | changes))
    assert run('train', configuration, '--device', 'cpu') == 1
    assert problem in caplog.text
