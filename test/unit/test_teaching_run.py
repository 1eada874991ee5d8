# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A run of teaching goes on exactly, ends when nothing gets better, and leaves a model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmark import teaching_scene
from stmask_ros.cli import main
from stmask_ros.families.errors import TrainingError
from stmask_ros.families.family import TrackerSettings
from stmask_ros.families.frames import AnnotatedFrame
from stmask_ros.fingerprint import file_sha256
from stmask_ros.models.checkpoint import load_model
from stmask_ros.output_files import MARK, locked
from stmask_ros.teaching.lessons import Lessons
from stmask_ros.teaching.run import RunOptions, TeachingRun
from stmask_ros.teaching.scoring import score_frames
from stmask_ros.tracking.segmenter import load_segmenter

OPTIONS = RunOptions(iterations=12, batch_size=2, judge_every=3, patience=3)
LESSONS = Lessons([float(number) for number in range(6)], 2, 1)


class Line(nn.Module):
    """Learns to double a number, with noise that it draws."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.zeros(()))

    def losses(self, lessons: Sequence[float]) -> Mapping[str, Tensor]:
        numbers = torch.tensor(lessons)
        noise = 0.1 * torch.randn(len(lessons))
        return {'error': (self.factor * numbers - 2 * numbers + noise).square().mean()}

    def finish(self) -> nn.Module:
        return self


def learned(folder: Path, stop_after: int | None = None, options: RunOptions = OPTIONS) -> Line:
    """Learn, or stop in the middle as a killed process does."""
    line = Line()
    run = TeachingRun(folder, line, options, {'data': 'here'})

    def judge() -> float:
        return line.factor.item()

    def judge_or_die() -> float:
        if run.iteration > (stop_after or 0):
            raise KeyboardInterrupt
        return judge()

    run.learn(LESSONS, judge if stop_after is None else judge_or_die)
    return line


def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path: Path) -> None:
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    whole.mkdir(), parts.mkdir()
    with pytest.raises(KeyboardInterrupt):
        learned(parts, stop_after=6)
    assert torch.equal(learned(parts).factor, learned(whole).factor)


def test_a_run_with_other_data_is_refused(tmp_path: Path) -> None:
    learned(tmp_path)
    with pytest.raises(TrainingError, match='data here, not there'):
        TeachingRun(tmp_path, Line(), OPTIONS, {'data': 'there'})


def test_it_ends_when_nothing_gets_better_and_keeps_the_best(tmp_path: Path) -> None:
    line = Line()
    run = TeachingRun(tmp_path, line, OPTIONS, {})
    aps, seen = iter((0.1, 0.5, 0.4, 0.5, 0.3)), []

    def judge() -> float:
        seen.append(line.factor.item())
        return next(aps)

    run.learn(LESSONS, judge)
    assert (run.iteration, run.best_iteration) == (12, 6)
    assert line.factor.item() == seen[1]


def test_a_gradient_that_is_not_finite_spoils_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    losses = Line.losses

    def sometimes_infinite(line: Line, lessons: Sequence[float]) -> Mapping[str, Tensor]:
        share = torch.tensor(float('nan') if 5.0 in lessons else 1.0)
        return {name: value * share for name, value in losses(line, lessons).items()}

    monkeypatch.setattr(Line, 'losses', sometimes_infinite)
    assert learned(tmp_path).factor.item() > 0
    assert 'its gradient is not finite' in caplog.text


def test_a_name_that_leads_elsewhere_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    command = ['teach', 'stmask_lite', str(tmp_path), '--out', str(tmp_path / 'a')]
    assert main([*command, '--name', '../b']) == 1
    assert 'a name without folders' in caplog.text
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope='module')
def clip() -> list[teaching_scene.Frame]:
    """Return things in front of what looks like nothing."""
    random = np.random.default_rng(2)
    coarse = random.integers(60, 200, (16, 12, 20, 3), np.uint8)
    backgrounds = [
        np.asarray(cv2.resize(coarse[0], (854, 480), interpolation=cv2.INTER_CUBIC), np.uint8)
        for _ in coarse]
    nothing = [np.zeros((480, 854), bool)] * len(backgrounds)
    things = [teaching_scene.thing(kind, 16, 2) for kind in teaching_scene.KINDS]
    return [
        teaching_scene.Frame(frame.picture, frame.masks[1:])
        for frame in teaching_scene.scene(backgrounds, nothing, things, 2)]


LABELLED = (*range(0, 16, 2), 15)


@pytest.fixture(scope='module')
def taught(
    clip: list[teaching_scene.Frame], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return the folder of a short run of the shipped model."""
    folder = tmp_path_factory.mktemp('teaching')
    teaching_scene.write(folder / 'data', [clip], [
        teaching_scene.labels_of(clip, teaching_scene.KINDS, LABELLED)])
    assert main(arguments(folder)) == 0
    return folder


def arguments(folder: Path) -> list[str]:
    return ['teach', 'stmask_lite', str(folder / 'data'), '--out', str(folder / 'mine'),
            '--lessons', '28', '--iterations', '60', '--device', 'cpu']


def test_new_things_are_found_in_frames_without_labels(
    taught: Path, clip: list[teaching_scene.Frame]
) -> None:
    frames = [
        AnnotatedFrame(frame.picture, frame.masks, np.arange(1, 4), np.arange(1, 4))
        for number, frame in enumerate(clip) if number not in LABELLED]
    settings = TrackerSettings(birth_threshold=0.0)
    before, after = (
        score_frames(load_segmenter(model, 'cpu', settings), frames, teaching_scene.KINDS)
        for model in ('stmask_lite', taught / 'mine' / 'mine.yaml'))
    assert before.recall == 0
    assert after.ap50 >= 0.5
    assert after.recall >= 0.5


def test_the_outputs_of_old_classes_are_the_parents(taught: Path) -> None:
    old, new = load_model('stmask_lite').network, load_model(taught / 'mine/mine.yaml').network
    for one, other in zip(old.head.levels, new.head.levels, strict=True):
        assert torch.equal(other[-1].weight[:80], one[-1].weight[:80])
        assert torch.equal(other[-1].weight[83:], one[-1].weight[80:])


def test_the_card_says_where_the_model_came_from(taught: Path) -> None:
    card = (taught / 'mine' / 'mine.md').read_text()
    for words in (
        load_model('stmask_lite').digest, 'stmask_lite', '9 labelled frames',
        file_sha256(taught / 'data' / 'annotations.json'), '| pallet | 0.0 |',
        'charging dock, gripper, pallet',
    ):
        assert words in card
    description = load_model(taught / 'mine' / 'mine.yaml').description
    assert description.classes[80:] == ('charging dock', 'gripper', 'pallet')
    assert description.sha256 == file_sha256(taught / 'mine' / 'mine.safetensors')


def test_what_others_made_stays(taught: Path, tmp_path: Path, caplog) -> None:
    mark = json.loads((taught / 'mine' / MARK).read_text())
    assert mark['command'] == 'teach'
    (tmp_path / 'notes.txt').write_text('mine')
    assert main([*arguments(taught), '--out', str(tmp_path)]) == 1
    assert 'nothing in it was touched' in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ['notes.txt']


def test_two_runs_do_not_write_into_one_folder(taught: Path, caplog) -> None:
    out = taught / 'mine'
    before = (out / 'last.pt').read_bytes()
    with locked(out, 'not expected'):
        assert main([*arguments(taught), '--out', str(out), '--overwrite']) == 1
    assert [record.message for record in caplog.records if record.levelname == 'ERROR'] == [
        f'another stmask teach is writing into {out}: wait for its end, or choose another --out']
    assert (out / 'last.pt').read_bytes() == before
