# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What stmask_lite is trained with."""

from __future__ import annotations

import importlib.util
import json
import runpy
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.families.stmask.network import STMask
from stmask_ros.families.stmask.training.teacher import Teacher, TeacherPredictions
from stmask_ros.models.checkpoint import load_model
from stmask_ros.training.config import read_config

MODEL = Path(__file__).resolve().parents[2] / 'model'
TRAINING = MODEL / 'training'


def load(name: str) -> ModuleType:
    return load_from(TRAINING / f'{name}.py')


def load_from(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_all_parts_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(TRAINING)
    load('prepare').write_configurations(tmp_path)
    parts = sorted(tmp_path.glob('*.yaml'))
    assert [part.stem for part in parts] == [
        'held_out', 'refined_1', 'refined_2', 'refined_3', 'run', 'taught_1', 'taught_2', 'tuned']
    for part in parts:
        config = read_config(part)
        assert config.configuration == 'stmask_lite_distances'
        assert len(config.classes) == 80
        rendered = [
            data for clips in config.synthetic for data in clips.coco
            if data.images == tmp_path / 'rendered' / 'images']
        assert len(rendered) == (2 if part.stem[:-2] in ('taught', 'refined') else 0)


def test_the_model_that_ships_has_the_classes_of_its_training() -> None:
    model = load_model('stmask_lite')
    assert model.description.classes == read_config(TRAINING / 'run.yaml').classes
    assert (MODEL / 'stmask_lite.safetensors').stat().st_size <= 25e6


def package(network: STMask) -> tuple[dict[str, Any], bytes]:
    """Return graph and weights as NanoDet-g's package has them, of another network's weights."""
    parts = (network.backbone, network.fpn, network.prediction_layers[0].levels)
    layers = [m for part in parts for m in part.modules() if isinstance(m, torch.nn.Conv2d)]
    nodes, entries, content = [], [], b''
    for number, layer in enumerate(layers):
        name = f'call/convolution_{number}' if number else 'call/convolution'
        weight = layer.weight.detach().permute(2, 3, 1, 0)
        if number == 0:
            weight = weight.flip(2)
        nodes += [
            {'name': f'call/add_{number}', 'op': 'Add', 'input': [name, f'bias_{number}']},
            {'name': name, 'op': 'Conv2D', 'input': ['x', f'weight_{number}']},
        ]
        for kind, value in (('weight', weight), ('bias', layer.bias.detach())):
            array = value.contiguous().numpy().astype(np.float16)
            entries.append({
                'name': f'{kind}_{number}', 'shape': list(array.shape), 'dtype': 'float32',
                'quantization': {'dtype': 'float16'},
            })
            content += array.tobytes()
    nodes.reverse()  # convolutions go by their numbers, wherever they stand
    return {
        'modelTopology': {'node': nodes}, 'weightsManifest': [{'weights': entries}],
    }, content


def test_the_start_computes_what_the_package_does() -> None:
    torch.manual_seed(0)
    config = STMaskConfig.named('stmask_lite_distances', input_height=64, input_width=64)
    source = STMask(config).eval()
    script = load('nanodet')
    graph, content = package(source)
    start = script._renamed(script._convolutions(json.loads(json.dumps(graph)), content))
    other = STMask(config).eval()
    other.load_state_dict(start, strict=False)
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        expected, got = source(image).head, other(image).head
    torch.testing.assert_close(got.box_deltas, expected.box_deltas, atol=1e-2, rtol=1e-2)
    torch.testing.assert_close(
        got.class_logits, script.SCORE_FACTOR * expected.class_logits + script.SCORE_OFFSET,
        atol=1e-2, rtol=1e-2,
    )


DETECTOR = """
import torch
from torch import nn

MEAN, NORM = (103.5, 116.3, 123.7), (0.017, 0.018, 0.017)


class NanoDetPlus(nn.Module):
    def __init__(self, stages, width):
        super().__init__()
        self.neck = nn.Conv2d(3, 8, 64, 64)
        self.head = nn.Conv2d(8, 84, 1)


def decode(maps):
    scores, sides = maps.flatten(2).mT.split((80, 4), -1)
    return scores.sigmoid(), sides.sigmoid().cumsum(-1) * 100
"""


def test_a_larger_detector_becomes_a_teacher(tmp_path: Path) -> None:
    """One of the same interface: scores, and boxes in pixels of its input."""
    pytest.importorskip('onnxscript', reason='onnxscript writes ONNX files')
    (tmp_path / 'nanodet_plus.py').write_text(DETECTOR)
    script, code = load('teacher'), load_from(tmp_path / 'nanodet_plus.py')
    torch.manual_seed(0)
    network = code.NanoDetPlus(script.STAGES, script.WIDTH)
    save_file(network.state_dict(), script.weights(tmp_path))
    script.write_teacher(tmp_path, tmp_path / 'teacher.onnx')
    image = np.random.default_rng(0).integers(0, 256, (script.SIZE, script.SIZE, 3), np.uint8)
    answers = Teacher(tmp_path / 'teacher.onnx', 80)([image])[0]
    pixels = (image - np.array(code.MEAN)) * np.array(code.NORM)
    with torch.inference_mode():
        maps = network.neck(torch.from_numpy(pixels.transpose(2, 0, 1)[None]).float())
        scores, boxes = code.decode(network.head(maps))
    expected = TeacherPredictions.of(scores[0], boxes[0] / script.SIZE)
    torch.testing.assert_close(answers.scores, expected.scores, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(answers.boxes, expected.boxes, atol=1e-4, rtol=1e-3)


def two_networks() -> tuple[STMask, STMask]:
    torch.manual_seed(0)
    config = STMaskConfig.named('stmask_lite_distances')
    return STMask(config), STMask(config)


def test_a_mean_of_networks_has_their_mean_weights() -> None:
    network, other = two_networks()
    for name, value in load('recipe').mean([network, other]).state_dict().items():
        expected = (network.state_dict()[name] + other.state_dict()[name]) / 2
        torch.testing.assert_close(value, expected)


def test_a_start_that_is_there_is_kept(tmp_path: Path) -> None:
    network, other = two_networks()
    script = load('recipe')
    script._write(network, tmp_path / 'start.safetensors')
    script._write(other, tmp_path / 'start.safetensors')
    for name, value in load_file(tmp_path / 'start.safetensors').items():
        torch.testing.assert_close(value, network.state_dict()[name].half())


def test_a_shipped_model_is_the_trained_one_in_half_precision_with_scores_scaled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(TRAINING)
    config = STMaskConfig.named('stmask_lite_distances')
    trained = STMask(config).state_dict()
    save_file(trained, tmp_path / 'stmask_lite.safetensors')
    classes = ', '.join(f'class_{n}' for n in range(80))
    (tmp_path / 'stmask_lite.yaml').write_text(
        f'name: stmask_lite\nconfiguration: stmask_lite_distances\nclasses: [{classes}]\n'
        'weights: stmask_lite.safetensors\n'
    )
    monkeypatch.setattr(sys, 'argv', [
        'ship.py', str(tmp_path / 'stmask_lite.yaml'), str(tmp_path / 'out'),
    ])
    runpy.run_path(str(TRAINING / 'ship.py'), run_name='__main__')
    model = load_model(tmp_path / 'out' / 'stmask_lite.yaml')
    shipped = load_file(tmp_path / 'out' / 'stmask_lite.safetensors')
    assert all(value.dtype == torch.float16 for value in shipped.values())
    script = load('ship')
    for name, value in model.network.state_dict().items():
        expected = trained[name].clone()
        if name.split('.')[-2:-1] == ['2'] and name.startswith('prediction_layers.0.levels'):
            expected[:80] *= script.SCORE_FACTOR
            expected[:80] += script.SCORE_OFFSET * name.endswith('bias')
        torch.testing.assert_close(value, expected.half().float())
