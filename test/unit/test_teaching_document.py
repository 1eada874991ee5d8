# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The whole way of docs/teaching.md, command by command, with one's own recording.

The first command, the demo, is tested in test/ros; here is a bag where it leaves one.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from annotated_clip import Clip, write_bag

from benchmark import teaching_scene
from stmask_ros.evaluation.dataset import Category
from stmask_ros.labelling.folder import (
    IMAGES,
    Labels,
    LabelTrack,
    encoded,
    read_labels,
    write_labels,
)
from stmask_ros.models.checkpoint import load_model

DOCUMENT = Path(__file__).resolve().parents[2] / 'docs' / 'teaching.md'
# What makes the commands fit for a test: less of everything.
SHORTER = {
    'bag': ['--most', '10'], 'teach': ['--lessons', '30', '--iterations', '100'],
}


def commands() -> list[list[str]]:
    """Return the arguments of the commands in the document's first block."""
    found = re.search(r'^```sh\n(.*?)^```', DOCUMENT.read_text(), re.S | re.M)
    assert found is not None
    lines = [shlex.split(line) for line in found[1].splitlines()]
    assert all(line[0] == 'stmask' for line in lines)
    return [line[1:] for line in lines]


@pytest.fixture(scope='module')
def scene() -> list[teaching_scene.Frame]:
    """Return the frames of a camera that goes past a pallet, a dock and a gripper."""
    coarse = np.random.default_rng(2).integers(60, 200, (12, 20, 3), np.uint8)
    background = np.asarray(
        cv2.resize(coarse, (854, 480), interpolation=cv2.INTER_CUBIC), np.uint8)
    nothing = [np.zeros((480, 854), bool)] * 14
    things = [teaching_scene.thing(kind, 14, 2) for kind in teaching_scene.KINDS]
    return [
        replace(frame, masks=frame.masks[1:])
        for frame in teaching_scene.scene([background] * 14, nothing, things, 2)]


def run(folder: Path, arguments: Sequence[str]) -> str:
    """Run a command in a folder, and return what it printed."""
    process = subprocess.run(
        [sys.executable, '-m', 'stmask_ros.cli', *arguments, *SHORTER.get(arguments[0], [])],
        cwd=folder, capture_output=True, text=True, check=False,
        env=os.environ | {'PYTHONPATH': str(DOCUMENT.parents[1])},
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def look_at_the_page(folder: Path, arguments: Sequence[str]) -> None:
    """Open the page of `stmask label`, and end the command as a user does."""
    server = subprocess.Popen(
        [sys.executable, '-m', 'stmask_ros.cli', *arguments], cwd=folder, text=True,
        stdout=subprocess.PIPE, env=os.environ | {'PYTHONPATH': str(DOCUMENT.parents[1])},
        # Where the tests are a shell's job in the background, SIGINT is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    assert server.stdout is not None
    found = re.search(r'http://\S+', server.stdout.readline())
    assert found is not None
    with urllib.request.urlopen(found[0]) as answer:
        assert b'<html' in answer.read().lower()
    server.send_signal(signal.SIGINT)
    assert server.wait(60) == 0


def label(folder: Path, scene: Sequence[teaching_scene.Frame]) -> None:
    """Label every thing of the new classes, as a person does on the page."""
    labels = read_labels(folder)
    (video,) = labels.videos
    shown = [_shown(folder / IMAGES / frame.file_name, scene) for frame in video.frames]
    categories = tuple(Category(n, name) for n, name in enumerate(teaching_scene.KINDS, 1))
    tracks = tuple(
        LabelTrack(row + 1, video.id, row + 1, tuple(encoded(frame.masks[row]) for frame in shown))
        for row in range(len(categories)))
    frames = tuple(replace(frame, is_labelled=True) for frame in video.frames)
    write_labels(folder, Labels((replace(video, frames=frames),), categories, tracks))


def _shown(picture: Path, scene: Sequence[teaching_scene.Frame]) -> teaching_scene.Frame:
    pixels = np.asarray(cv2.imread(str(picture)), np.float32)
    return min(scene, key=lambda frame: float(np.abs(frame.picture - pixels).mean()))


def test_the_whole_way(tmp_path: Path, scene: list[teaching_scene.Frame]) -> None:
    demo, export, page, teach, report = commands()
    assert demo == ['demo', '--out', 'out/demo']
    (tmp_path / 'out' / 'demo').mkdir(parents=True)
    write_bag(
        tmp_path / 'out' / 'demo' / 'bag', Clip('bag', [f.picture for f in scene], [], []), '.jpg')
    run(tmp_path, export)
    look_at_the_page(tmp_path, page)
    label(tmp_path / 'out' / 'labels', scene)
    printed = run(tmp_path, teach)
    assert re.search(r'^pallet +0\.0 +\d+\.\d', printed, re.M)
    model = load_model(tmp_path / 'out' / 'mine' / 'mine.yaml')
    assert set(model.description.classes[80:]) == set(teaching_scene.KINDS)
    assert 'gripper' in run(tmp_path, report)
    assert '<img' in (tmp_path / 'out' / 'report.html').read_text()
