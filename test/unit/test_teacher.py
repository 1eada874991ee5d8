# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A detector in an ONNX file, whose predictions are learned."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import noise, small
from torch import Tensor, nn

from stmask_ros.families.errors import TrainingError
from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.families.stmask.network import STMask, initialise
from stmask_ros.families.stmask.training.examples import Example
from stmask_ros.families.stmask.training.loss_inputs import LossConfig
from stmask_ros.families.stmask.training.step import TrainingStep
from stmask_ros.families.stmask.training.targets import FrameTargets
from stmask_ros.families.stmask.training.teacher import MOST_BOXES, Teacher, TeacherPredictions
from stmask_ros.training.config import read_config
from stmask_ros.training.fingerprint import training_fingerprint

pytest.importorskip('onnxruntime', reason='ONNX Runtime runs a teacher')
pytest.importorskip('onnxscript', reason='onnxscript writes the ONNX files of these tests')

BOX = (0.2, 0.1, 0.8, 0.9)


class Mean(nn.Module):
    """Scores of two boxes and three classes: the mean of the image's blue, green and red."""

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        scores = image.mean((2, 3)) / 255
        boxes = torch.tensor((BOX, (-0.5, 0.5, 0.3, 2.0))) + 0 * image.sum()
        return torch.stack((scores, scores / 2), 1), boxes[None]


def write(path: Path, module: nn.Module, *shapes: tuple[int, ...], **options: object) -> Path:
    torch.onnx.export(
        module.eval(), tuple(torch.zeros(shape) for shape in shapes), path, dynamo=True,
        external_data=False, verbose=False, **options)
    return path


@pytest.fixture(scope='module')
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp('teacher') / 'mean.onnx', Mean(), (1, 3, 64, 32))


def test_images_of_any_size_are_seen_in_blue_green_red(file: Path) -> None:
    teacher = Teacher(file, 3)
    image = np.full((48, 100, 3), (255, 102, 51), np.uint8)
    predictions, dark = teacher([image, image // 2])
    expected = torch.tensor(((1.0, 0.4, 0.2), (0.5, 0.2, 0.1)))
    torch.testing.assert_close(predictions.scores, expected)
    torch.testing.assert_close(predictions.boxes, torch.tensor((BOX, (0.0, 0.5, 0.3, 1.0))))
    assert predictions.objects.tolist() == [0, 1]
    assert dark.objects.tolist() == [0]


def test_objects_are_sure_and_apart_and_the_rest_is_still_predicted() -> None:
    near = (0.21, 0.1, 0.8, 0.9)
    boxes = torch.tensor((BOX, near, near, (0.0, 0.0, 0.1, 0.1), (0.5, 0.0, 0.6, 0.1)))
    scores = torch.tensor(
        ((0.6, 0.0), (0.7, 0.0), (0.0, 0.4), (0.29, 0.0), (0.01, 0.01)))
    predictions = TeacherPredictions.of(scores, boxes)
    # In the order of scores: the better of two of a class, another class, and no unsure one.
    assert predictions.objects.tolist() == [0, 2]
    assert predictions.scores.amax(1).tolist() == pytest.approx([0.7, 0.6, 0.4, 0.29])
    nothing = TeacherPredictions.of(scores * 0, boxes)
    assert len(nothing.boxes) == len(nothing.objects) == 0
    many = TeacherPredictions.of(torch.rand(MOST_BOXES + 50, 2), torch.rand(MOST_BOXES + 50, 4))
    assert len(many.boxes) <= MOST_BOXES
    assert len(TeacherPredictions.of(torch.zeros(0, 2), torch.zeros(0, 4)).boxes) == 0


class Scaled(nn.Module):
    """Mean with its scores and boxes multiplied."""

    def __init__(self, score: float, box: float) -> None:
        super().__init__()
        self.score, self.box = score, box

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        scores, boxes = Mean()(image)
        return scores * self.score, boxes * self.box


@pytest.mark.parametrize(('score', 'box', 'words'), [
    (-5.0, 1.0, 'expected scores in 0 to 1, after the sigmoid, got -5 to'),
    (7.0, 1.0, 'expected scores in 0 to 1, after the sigmoid, got .* to 7'),
    (float('nan'), 1.0, 'expected scores in 0 to 1, after the sigmoid, got nan'),
    (1.0, 416.0, 'expected boxes as fractions of the image, not pixels, got -208 to 832'),
    (1.0, float('inf'), 'expected boxes as fractions'),
])
def test_logits_and_pixels_are_refused(
    score: float, box: float, words: str, tmp_path: Path
) -> None:
    teacher = Teacher(write(tmp_path / 'a.onnx', Scaled(score, box), (1, 3, 8, 8)), 3)
    with pytest.raises(TrainingError, match=words):
        teacher([np.full((8, 8, 3), (255, 102, 51), np.uint8)])


def test_what_is_no_such_detector_is_told(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TrainingError, match=r'expected outputs \[1, A, 80\]'):
        Teacher(file, 80)
    with pytest.raises(TrainingError, match=r'missing.onnx cannot be read'):
        Teacher(tmp_path / 'missing.onnx', 3)
    (tmp_path / 'no.onnx').write_text('no')
    with pytest.raises(TrainingError, match=r'no.onnx cannot be read'):
        Teacher(tmp_path / 'no.onnx', 3)
    with pytest.raises(TrainingError, match=r'expected one input \[1, 3, H, W\] of a fixed size'):
        Teacher(write(tmp_path / 'flat.onnx', nn.Flatten(), (1, 3, 8)), 3)
    with pytest.raises(TrainingError, match=r'expected outputs \[1, A, 3\]'):
        Teacher(write(tmp_path / 'one.onnx', nn.Flatten(), (1, 3, 8, 8)), 3)
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(TrainingError, match='pip install onnxruntime'):
        Teacher(file, 3)


def test_a_training_names_its_teacher(file: Path, tmp_path: Path) -> None:
    text = (
        'name: a\nconfiguration: stmask_lite_distances\nclasses: [a, b, c]\nout: out\n'
        'pictures: []\nvideos: []\nsynthetic: [{pairs: 2}]\n'
        'loss: {tuned_detector: true, teacher: teacher.onnx}\n')
    (tmp_path / 'run.yaml').write_text(text)
    (tmp_path / 'teacher.onnx').write_bytes(file.read_bytes())
    config = read_config(tmp_path / 'run.yaml')
    assert config.loss_options().teacher == tmp_path / 'teacher.onnx'
    before = training_fingerprint(config)
    assert training_fingerprint(config) == before
    (tmp_path / 'teacher.onnx').write_bytes(b'another')
    assert training_fingerprint(config)['loss'] != before['loss']
    (tmp_path / 'run.yaml').write_text(text.replace('tuned_detector: true, ', ''))
    with pytest.raises(TrainingError, match='teacher: expected tuned_detector: true'):
        read_config(tmp_path / 'run.yaml')


def test_boxes_are_fractions_of_the_padded_input(file: Path) -> None:
    """The image fills three quarters of its height, whose rest is zeros."""
    config = small(STMaskConfig.named('stmask_lite_distances', num_classes=3))
    config = replace(config, input_height=72, input_width=128)
    network = STMask(config)
    initialise(network)
    for level in network.head.levels:
        torch.nn.init.constant_(level[-1].bias, -3.0)
    step = TrainingStep(network, LossConfig(tuned_detector=True, teacher=file))
    image = np.full((72, 128, 3), (200, 0, 0), np.uint8)
    (predictions,) = step._taught([image], torch.device('cpu'))
    expected = torch.tensor(BOX) * torch.tensor((1, 0.75, 1, 0.75))
    torch.testing.assert_close(predictions.boxes[0], expected)


def test_what_nobody_annotated_is_learned_from_the_teacher(file: Path) -> None:
    network = STMask(small(STMaskConfig.named('stmask_lite_distances', num_classes=3)))
    initialise(network)
    for level in network.head.levels:
        torch.nn.init.constant_(level[-1].bias, -3.0)
    nothing = FrameTargets(
        torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64),
        torch.zeros(0, 96, 128, dtype=torch.bool))
    image = noise(1)
    image[..., 0], image[..., 1:] = 200, 0  # so that the first class is seen, in BOX
    pair = [Example(image, nothing)] * 2
    alone = TrainingStep(network, LossConfig(tuned_detector=True))([pair])
    assert alone.box == 0
    taught = TrainingStep(network, LossConfig(tuned_detector=True, teacher=file))
    losses = taught([pair])
    assert losses.box > 0
    losses.box.backward()
    assert any(level[-1].weight.grad.any() for level in network.head.levels)
