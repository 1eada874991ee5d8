# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Every command that writes leaves what it did not make, and writes whole files or none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stmask_ros.cli import main
from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.families.stmask.network import STMask, initialise

INTO_FOLDERS = {
    'eval bag': ['eval', 'bag', 'bag', '--annotations', 'a.json', '--out', 'OUT'],
    'bag annotate': ['bag', 'annotate', 'bag', 'OUT'],
    'clips': ['clips', 'run.yaml', '--out', 'OUT'],
}


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize('command', INTO_FOLDERS)
def test_a_folder_of_the_user_is_refused_untouched(
    command: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip('rclpy') if command == 'bag annotate' else None
    (tmp_path / 'OUT').mkdir()
    (tmp_path / 'OUT' / 'thesis.tex').write_text('mine')
    assert main(INTO_FOLDERS[command]) == 1
    assert '--overwrite' in caplog.text
    assert [path.name for path in (tmp_path / 'OUT').iterdir()] == ['thesis.tex']


@pytest.mark.parametrize('command', INTO_FOLDERS)
def test_a_run_that_fails_leaves_no_folder(command: str, tmp_path: Path) -> None:
    pytest.importorskip('rclpy') if command == 'bag annotate' else None
    assert main(INTO_FOLDERS[command]) == 1
    assert not list(tmp_path.iterdir())


def test_scores_are_not_written_over_a_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ('truth.json', 'results.json', 'mine.json'):
        (tmp_path / name).write_text('mine')
    assert main(['eval', 'json', 'truth.json', 'results.json', '--output', 'mine.json']) == 1
    assert '--overwrite' in caplog.text
    assert (tmp_path / 'mine.json').read_text() == 'mine'


@pytest.mark.parametrize('name', ['model.safetensors', 'model.yaml'])
def test_a_model_is_not_written_over_a_file(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network = STMask(STMaskConfig.named('stmask_lite'))
    initialise(network, seed=7)
    torch.save(network.state_dict(), tmp_path / 'model.pth')
    (tmp_path / name).write_text('mine')
    command = ['weights', 'convert', 'model.pth', '--classes', 'a,b,c,d']
    assert main(command) == 1
    assert '--overwrite' in caplog.text
    assert main([*command, '--overwrite']) == (1 if name == 'model.yaml' else 0)
    if name == 'model.yaml':
        assert 'no description of a model' in caplog.text
        assert (tmp_path / name).read_text() == 'mine'
    assert main([*command, '--overwrite']) == (1 if name == 'model.yaml' else 0)
