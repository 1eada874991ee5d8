# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A library that pip installs and that is missing is named, with the command, in one sentence."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from catkin_pkg.package import parse_package

from stmask_ros.installation import FROM_PIP

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = parse_package(ROOT / 'package.xml')

# Keys of rosdep that resolve to pip, which the build farm refuses.
PIP_KEY = re.compile(r'.*-pip|python3-orjson')


def names(file: str) -> set[str]:
    lines = (ROOT / 'requirements' / file).read_text().splitlines()
    return {re.split(r'[<>=\[]', line)[0] for line in lines if line[:1].isalpha()}


@pytest.mark.parametrize(('program', 'name'), [
    ('segmenter', 'torch'), ('segmenter', 'torchvision'), ('segmenter', 'safetensors'),
    ('segmenter', 'pycocotools'), ('stmask', 'orjson'),
])
def test_a_program_says_what_is_missing_and_the_command(program: str, name: str) -> None:
    # A finder that refuses one name stands for an installation without it.
    code = (
        'import runpy, sys\n'
        'class Absent:\n'
        '    def find_spec(self, full, path=None, target=None):\n'
        f'        if full.split(".")[0] == {name!r}:\n'
        f'            raise ModuleNotFoundError("none", name={name!r})\n'
        'sys.meta_path.insert(0, Absent())\n'
        f'sys.argv = [{program!r}]\n'
        f'runpy.run_path({str(ROOT / "scripts" / program)!r}, run_name="__main__")\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert 'Traceback' not in done.stderr
    assert f"'{FROM_PIP[name]}' is missing" in done.stderr
    assert '-m pip install ' in done.stderr


def test_pip_installs_what_the_sentence_names() -> None:
    assert names('beside_ros.txt') == set(FROM_PIP.values())
    assert names('beside_ros.txt') <= names('python.txt')


def test_no_dependency_of_the_package_resolves_to_pip() -> None:
    keys = {dependency.name for dependency in PACKAGE.exec_depends + PACKAGE.test_depends}
    assert not [key for key in keys if PIP_KEY.fullmatch(key)]


def test_the_package_file_is_whole() -> None:
    PACKAGE.validate()
    assert PACKAGE.authors
    assert {url.type for url in PACKAGE.urls} >= {'repository', 'bugtracker'}
    assert (ROOT / PACKAGE.licenses[0].file).is_file()


def test_the_demo_says_how_large_the_installation_is() -> None:
    printed = subprocess.run(
        [sys.executable, str(ROOT / '.ci' / 'sizes')], capture_output=True, text=True, check=True)
    whole, *parts = (float(size) for size in re.findall(r'(\d+\.\d) GB', printed.stdout))
    assert whole > 0.5
    assert sum(parts) == pytest.approx(whole, abs=0.05 * (len(parts) + 1))
    assert re.search(r'GB  PyTorch$', printed.stdout, re.MULTILINE)
