# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""`stmask weights`: the list of official checkpoints, and what becomes of a downloaded file."""

from __future__ import annotations

import hashlib
import logging
import shutil
from pathlib import Path

import pytest
import torch

from stmask_ros.cli import main
from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.families.stmask.network import STMask, initialise
from stmask_ros.families.stmask.official import OFFICIAL
from stmask_ros.models.checkpoint import load_model
from stmask_ros.models.official import official_checkpoint
from stmask_ros.resources import share_directory


def save(configuration: str, path: Path) -> Path:
    """Write fresh weights as the official code saves its own: a state dict, nothing else."""
    network = STMask(STMaskConfig.named(configuration))
    initialise(network)
    torch.save(network.state_dict(), path)
    return path


@pytest.mark.parametrize('arguments', [['weights'], ['weights', 'list']])
def test_the_list_names_each_with_its_ap_and_where(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    for checkpoint in OFFICIAL:
        line, = (line for line in lines if line.split()[:1] == [checkpoint.name])
        assert checkpoint.remark in line
        assert checkpoint.ap is None or f' {checkpoint.ap} ' in line
        assert line.endswith(checkpoint.link)


def test_the_list_agrees_with_the_configurations() -> None:
    assert len({checkpoint.name for checkpoint in OFFICIAL}) == len(OFFICIAL) == 14
    for checkpoint in OFFICIAL:
        names = (share_directory() / 'model' / f'{checkpoint.classes}.txt').read_text()
        assert STMaskConfig.named(checkpoint.name).num_classes == len(names.splitlines())
        assert checkpoint.configuration in STMaskConfig.names()


@pytest.mark.parametrize(('file', 'name'), [
    ('STMask_plus_base.pth', 'STMask_plus_base'),
    ('STMask_plus_base_ada_OVIS (2).pth', 'STMask_plus_base_ada_OVIS'),
    ('STMask_plus_base_10_32100.pth', None),
    ('mine.pth', None),
])
def test_a_file_is_known_by_its_name(file: str, name: str | None) -> None:
    checkpoint = official_checkpoint(Path('downloads') / file)
    assert (checkpoint.name if checkpoint else None) == name


def test_a_download_becomes_a_model(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The tensors tell the network, the name tells the classes; the sha256 is kept and shown."""
    download = save('STMask_plus_resnet50', tmp_path / 'STMask_plus_resnet50_YTVIS2021 (1).pth')
    with caplog.at_level(logging.INFO):
        assert main(['weights', 'convert', str(download)]) == 0
    model = load_model(download.with_suffix('.yaml'))
    assert model.description.configuration == 'STMask_plus_resnet50'
    assert model.description.classes[:3] == ('airplane', 'bear', 'bird')
    assert 'recognised STMask_plus_resnet50 with 40 classes' in caplog.text
    assert hashlib.sha256(download.read_bytes()).hexdigest() in caplog.text
    assert 'all weights and outputs are finite; in the built-in clip it sees' in caplog.text
    saved = torch.load(download, weights_only=True)
    for key, value in model.network.state_dict().items():
        torch.testing.assert_close(value, saved[key], rtol=0, atol=0)


def test_a_name_that_the_tensors_belie(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The tensors count; the classes are no longer taken from the name."""
    lite = save('stmask_lite', tmp_path / 'lite.pth')
    file = shutil.copy(lite, tmp_path / 'STMask_plus_base_ali.pth')
    assert main(['weights', 'convert', str(file)]) == 1
    assert 'named like an official checkpoint of STMask_plus_base_ali' in caplog.text
    assert 'its tensors are those of stmask_lite' in caplog.text
    assert 'choose with --classes' in caplog.text
    assert not list(tmp_path.glob('*.safetensors'))
