# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: what each is taken for, what becomes of it, and what a bad one leads to."""

from __future__ import annotations

import argparse
import logging
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from stmask_ros.commands import weights as weights_command
from stmask_ros.families.errors import ModelError
from stmask_ros.families.family import Recognised
from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.families.stmask.network import STMask, initialise
from stmask_ros.families.stmask.recognition import recognise
from stmask_ros.models.checkpoint import load_model

RELEASED = [name for name in STMaskConfig.names() if name.startswith('STMask')]


def shapes_of(name: str, **options: Any) -> dict[str, torch.Tensor]:
    """Return a state dict without memory."""
    with torch.device('meta'):
        return STMask(STMaskConfig.named(name, **options)).state_dict()


def run(*arguments: object) -> int:
    """Run `stmask convert` and return its exit code."""
    parser = argparse.ArgumentParser()
    weights_command.register(parser.add_subparsers())
    options = parser.parse_args(['convert', *map(str, arguments)])
    code: int = options.run(options)
    return code


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a .pth of the small configuration with left-overs that the released loader drops."""
    network = STMask(STMaskConfig.named('stmask_lite'))
    initialise(network, seed=7)
    path = tmp_path_factory.mktemp('checkpoint') / 'official.pth'
    dropped = {'backbone.layer1.0.weight': torch.ones(1),
               'fpn.downsample_layers.2.weight': torch.ones(1)}
    torch.save(network.state_dict() | dropped, path)
    return path


@pytest.mark.parametrize('name', [*RELEASED, 'stmask_lite', 'paper_yolact_tf'])
@pytest.mark.parametrize('classes', [40, 25])
def test_configuration_is_read_from_shapes(name: str, classes: int) -> None:
    found = recognise(shapes_of(name, num_classes=classes))
    assert found == Recognised(name, classes, {})


@pytest.mark.parametrize('kind', ['ada', 'ali'])
def test_first_public_layout_is_read_from_shapes(kind: str) -> None:
    name = f'STMask_plus_resnet50_{kind}'
    found = recognise(shapes_of(name, calibration_layers='one'))
    assert found == Recognised(name, 40, {'calibration_layers': 'one'})


def test_foreign_and_unfitting_tensors_are_told_apart() -> None:
    with pytest.raises(ModelError, match='no STMask checkpoint'):
        recognise({'weight': torch.zeros(3)})
    with pytest.raises(ModelError, match='differ from STMask_base'):
        recognise(shapes_of('STMask_resnet50'), 'STMask_base')
    with pytest.raises(ModelError, match='unknown configuration'):
        recognise(shapes_of('STMask_resnet50'), 'STMask_r50')


def test_conversion_keeps_every_number(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / 'mine.safetensors'
    assert run(checkpoint, out, '--classes', 'person, animal,vehicle,object',
               '--option', 'temporal_roi=legacy') == 0
    model = load_model(out)
    assert model.description.classes == ('person', 'animal', 'vehicle', 'object')
    assert model.network.config.temporal_roi == 'legacy'
    assert not model.freshly_initialised
    assert checkpoint.name in model.description.source
    saved = torch.load(checkpoint, weights_only=True)
    for key, value in model.network.state_dict().items():
        torch.testing.assert_close(value, saved[key], rtol=0, atol=0)


def test_description_notices_other_weights(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / 'mine.safetensors'
    assert run(checkpoint, out, '--classes', 'a,b,c,d') == 0
    content = yaml.safe_load(out.with_suffix('.yaml').read_text())
    assert len(content['sha256']) == 64
    damaged = bytearray(out.read_bytes())
    damaged[-1] ^= 1
    out.write_bytes(damaged)
    with pytest.raises(ModelError, match='damaged or another one'):
        load_model(out)


@pytest.mark.parametrize(
    ('classes', 'told'), [([], '--classes'), (['--classes', 'cat,dog'], '2 names were given')]
)
def test_open_choices_are_listed(
    classes: list[str], told: str, checkpoint: Path, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert run(checkpoint, tmp_path / 'mine.safetensors', *classes) == 1
    assert told in caplog.text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(('value', 'told'), [(float('nan'), 'weights'), (1e38, 'outputs')])
def test_numbers_that_are_not_finite_are_refused(
    value: float, told: str, checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tensors = torch.load(checkpoint, weights_only=True)
    tensors['proto_net.0.weight'][0] = value
    torch.save(tensors, tmp_path / 'astray.pth')
    assert run(tmp_path / 'astray.pth', '--classes', 'a,b,c,d') == 1
    assert f'1 of the {told} are not finite: proto' in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ['astray.pth']


def test_the_checkpoint_itself_is_never_overwritten(
    checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert run(checkpoint, tmp_path / 'mine.safetensors', '--classes', 'a,b,c,d') == 0
    before = (tmp_path / 'mine.safetensors').read_bytes()
    assert run(tmp_path / 'mine.safetensors', '--classes', 'a,b,c,d') == 1
    assert 'would be overwritten' in caplog.text
    assert (tmp_path / 'mine.safetensors').read_bytes() == before


class Hostile:
    """Creates a file when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f'touch {self.proof}',)


@pytest.mark.parametrize('kind', ['hostile', 'hostile_zip', 'truncated', 'text', 'list', 'absent'])
def test_bad_files_give_one_clear_line(
    kind: str, checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad, proof = tmp_path / 'bad.pth', tmp_path / 'proof'
    if kind == 'hostile':
        bad.write_bytes(pickle.dumps(Hostile(proof)))
    elif kind == 'hostile_zip':
        torch.save({'weight': Hostile(proof)}, bad)
    elif kind == 'truncated':
        bad.write_bytes(checkpoint.read_bytes()[:100_000])
    elif kind == 'text':
        bad.write_text('not a checkpoint')
    elif kind == 'list':
        torch.save([1, 2], bad)
    with caplog.at_level(logging.ERROR):
        assert run(bad, tmp_path / 'mine.safetensors') == 1
    assert len(caplog.messages) == 1
    assert str(bad) in caplog.text
    assert '\n' not in caplog.messages[0]
    assert not proof.exists()


def small() -> dict[str, torch.Tensor]:
    network = STMask(STMaskConfig.named('stmask_lite'))
    initialise(network, seed=7)
    return network.state_dict()


WRAPPED: dict[str, Any] = {
    'nothing': lambda tensors: tensors,
    'state_dict': lambda tensors: {'state_dict': tensors, 'epoch': 3, 'optimizer': {'state': {}}},
    'model': lambda tensors: {'model': tensors, 'ema': {'decay': 0.9}},
    'two of them': lambda tensors: {'model': {'state_dict': tensors}, 'iteration': 7},
    'a name of its own': lambda tensors: {'my_weights': tensors, 'epoch': 3},
    'numbers beside': lambda tensors: tensors | {'epoch': 3, 'loss': 0.5},
    'parallel': lambda tensors: {f'module.{key}': value for key, value in tensors.items()},
    'compiled': lambda tensors: {f'_orig_mod.{key}': value for key, value in tensors.items()},
    'lightning': lambda tensors: {
        'state_dict': {f'model.module.{key}': value for key, value in tensors.items()}},
    'no counters': lambda tensors: {
        key: value for key, value in tensors.items() if 'num_batches' not in key},
}


@pytest.mark.parametrize('kind', WRAPPED)
def test_checkpoints_of_other_trainings_are_recognised(tmp_path: Path, kind: str) -> None:
    tensors = small()
    torch.save(WRAPPED[kind](tensors), tmp_path / 'theirs.pth')
    assert run(tmp_path / 'theirs.pth', tmp_path / 'ours.safetensors',
               '--classes', 'a,b,c,d') == 0
    loaded = load_model(tmp_path / 'ours.yaml').network.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in tensors.items()
               if 'num_batches' not in key)


@pytest.mark.parametrize(('content', 'reason'), [
    ({'epoch': 3, 'lr': 0.1}, 'a dictionary of epoch, lr'),
    ({'generator': {'a': torch.ones(1)}, 'discriminator': {'a': torch.ones(1)}},
     'a dictionary of generator, discriminator'),
    ([torch.ones(1)], 'a list'),
    ({f'layer{n}.weight': torch.ones(1) for n in range(756)}, '756 tensors, but no'),
])
def test_other_checkpoints_are_refused_in_one_short_line(
    tmp_path: Path, content: Any, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save(content, tmp_path / 'theirs.pth')
    assert run(tmp_path / 'theirs.pth', tmp_path / 'ours.safetensors') == 1
    assert reason in caplog.text
    assert len(caplog.messages[-1]) < 400


def test_weights_of_other_classes_are_refused_with_the_reason(tmp_path: Path) -> None:
    torch.save(small(), tmp_path / 'theirs.pth')
    assert run(tmp_path / 'theirs.pth', tmp_path / 'ours.safetensors',
               '--classes', 'a,b,c,d') == 0
    description = yaml.safe_load((tmp_path / 'ours.yaml').read_text())
    (tmp_path / 'ours.yaml').write_text(yaml.safe_dump(description | {'classes': ['a', 'b']}))
    with pytest.raises(ModelError, match='is the number of classes another one') as caught:
        load_model(tmp_path / 'ours.yaml')
    assert len(str(caught.value)) < 400
