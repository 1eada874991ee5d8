"""Modules that have moved can be imported under their former names."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from stmask_ros.moved_modules import MOVED


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
