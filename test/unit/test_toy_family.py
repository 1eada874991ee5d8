# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""One more family takes part in everything: its folder, and one line in families/all.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from annotated_clip import TOPIC, crossing_shapes, write_bag, write_dataset
from family_models import add_toy, model_of
from test_training import shapes

from stmask_ros.bags.files import read_bag
from stmask_ros.cli import main
from stmask_ros.evaluation.dataset_run import Worker
from stmask_ros.families import all as families
from stmask_ros.models.checkpoint import load_model
from stmask_ros.tracking.replay import Replay
from stmask_ros.tracking.segmenter import load_segmenter
from stmask_ros.training.clips import Clip
from stmask_ros.training.config import TrainingConfig, read_config
from stmask_ros.training.trainer import Trainer
from stmask_ros.training.workers import Team


@pytest.fixture(autouse=True)
def _with_the_toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(families, 'FAMILIES', families.FAMILIES)
    add_toy()
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_a_bag_is_replayed(tmp_path: Path) -> None:
    clip = crossing_shapes('toys', 4, 1)
    bag = write_bag(tmp_path / 'bag', clip)
    segmenter = load_segmenter(model_of('toy'))
    replayed = list(Replay(segmenter, max_gap=10.0).run(read_bag(bag, TOPIC)))
    state = segmenter.initial_state()
    for image, frame in zip(replayed, clip.frames, strict=True):
        (expected,), (state,) = segmenter.step([frame], [state])
        assert image.result is not None
        np.testing.assert_array_equal(image.result.track_ids, expected.track_ids)
    assert state.next_id > 1


def test_a_data_set_is_scored(tmp_path: Path) -> None:
    annotations, images = write_dataset(tmp_path, [crossing_shapes('toys', 3, 1)])
    assert main([
        'eval', 'dataset', '--annotations', str(annotations), '--images', str(images),
        '--model', str(model_of('toy')), '--device', 'cpu', '--out', str(tmp_path / 'out'),
    ]) == 0
    assert json.loads((tmp_path / 'out' / 'results.json').read_text())
    assert 0 <= json.loads((tmp_path / 'out' / 'scores.json').read_text())[
        'vis']['summary']['AP'] <= 1


class ShapeClips:
    """Four clips of three frames."""

    def __len__(self) -> int:
        return 4

    def clip(self, number: int, rng: np.random.Generator) -> Clip:
        del rng
        return tuple(shapes(number, time) for time in range(3))


def run_file(folder: Path) -> Path:
    """Write the YAML of a run of the toy."""
    path = folder / 'run.yaml'
    path.write_text("""
name: mine
family: toy
configuration: toy
classes: [rectangle, disc]
options: {channels: 6}
out: out
loss: {weight: 2}
synthetic: [{}]
batch_size: 2
iterations: 30
learning_rate: 0.05
warm_up: 1
steps: [1000]
optimiser: adamw
workers: 0
freeze_batch_norm: false
checkpoint_every: 0
""")
    return path


def test_it_is_trained(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """From the YAML to a model that has learnt, and steps."""
    config: TrainingConfig = read_config(run_file(tmp_path))
    trainer = Trainer(config, Team(Worker(), torch.device('cpu')), [ShapeClips()])
    fresh = trainer.network.state_dict()['heat.weight'].clone()
    with caplog.at_level('INFO'):
        trainer.run()
    lines = [r.getMessage() for r in caplog.records if '/30' in r.getMessage()]
    assert lines and 'heat ' in lines[-1]
    model = load_model(tmp_path / 'out' / 'mine.yaml')
    assert (model.family.name, model.network.config.channels) == ('toy', 6)
    assert not torch.equal(model.network.state_dict()['heat.weight'], fresh)
    segmenter = load_segmenter(tmp_path / 'out' / 'mine.yaml')
    segmenter.step([shapes(0, 0).image], [segmenter.initial_state()])


def test_its_checkpoints_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['weights']) == 0
    text = capsys.readouterr().out
    assert 'toy, published on https://example.org/toy' in text
    assert 'toy_best' in text and '12.3' in text
