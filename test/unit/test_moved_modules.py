# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Modules that have moved can be imported under their former names."""

from __future__ import annotations

import importlib
import subprocess
import sys

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage

from stmask_ros.bags.files import BagMessage
from stmask_ros.bags.types import COMPRESSED_IMAGE
from stmask_ros.moved_modules import MOVED
from stmask_ros.tracking.replay import picture_of


@pytest.fixture(autouse=True)
def _not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep Slipcover from running a module of today a second time under its former name."""
    finders = [each for each in sys.meta_path if not type(each).__module__.startswith('slipcover')]
    monkeypatch.setattr(sys, 'meta_path', finders)


@pytest.mark.parametrize('former', sorted(MOVED))
def test_a_former_name_is_the_module_of_today(former: str) -> None:
    if former == 'node.launching':
        pytest.importorskip('launch.actions', reason='the launch package is not installed')
    sys.modules.pop(f'stmask_ros.{former}', None)
    with pytest.warns(DeprecationWarning, match='is now'):
        module = importlib.import_module(f'stmask_ros.{former}')
    assert module is importlib.import_module(f'stmask_ros.{MOVED[former]}')


def test_names_can_be_imported_from_former_packages() -> None:
    code = 'from stmask_ros.network.config import STMaskConfig; import stmask_ros.network.stmask'
    subprocess.run([sys.executable, '-c', code], check=True)


def test_a_former_name_can_be_run() -> None:
    code = 'import runpy, sys; runpy._run_module_as_main(sys.argv[1]); print(sys.argv)'
    command = [sys.executable, '-c', code, 'stmask_ros.evaluation.json_command']
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert 'commands/eval_json.py' in done.stdout


def test_a_picture_is_read_by_its_former_name() -> None:
    pixels = np.full((2, 3, 3), 40, np.uint8)
    content = CompressedImage(format='png')
    content.data.frombytes(cv2.imencode('.png', pixels)[1].tobytes())
    message = BagMessage('/camera/compressed', COMPRESSED_IMAGE, 0, content)
    with pytest.warns(DeprecationWarning, match='images_of'):
        picture = picture_of(message)
    assert np.array_equal(picture.pixels, pixels)
