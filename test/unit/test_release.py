# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What a release job of ROS looks at: copyright lines, package.xml, change log, C++ style."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from catkin_pkg.changelog import get_changelog_from_path
from catkin_pkg.package import parse_package

ROOT = Path(__file__).parents[2]
HEADER = ['Copyright 2026 stmask_ros developers', 'SPDX-License-Identifier: Apache-2.0']
FOLDERS = (
    'benchmark', 'cmake', 'docs', 'include', 'launch', 'model', 'scripts', 'src', 'stmask_ros',
    'test',
)
SOURCES = sorted(
    path for folder in FOLDERS for path in (ROOT / folder).rglob('*')
    if path.suffix in ('.py', '.cpp', '.hpp', '.cmake', '.js')
)
CPP = [str(path) for path in SOURCES if path.suffix in ('.cpp', '.hpp')]
# What ROS leaves to the developer, and its own form of header guards.
FILTERS = (
    'build/c++11', 'build/header_guard', 'runtime/references', 'whitespace/braces',
    'whitespace/indent', 'whitespace/parens', 'whitespace/semicolon',
)


def header(path: Path) -> list[str]:
    """Return the first two comment lines of a file."""
    lines = path.read_text().splitlines()
    first = 1 if lines and lines[0].startswith('#!') else 0
    return [line.lstrip('#/ ') for line in lines[first:first + 2]]


def run(*command: str) -> None:
    """Run a tool on the checkout; fail with what it says."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_source_says_whose_it_is() -> None:
    assert len(SOURCES) > 400
    sources = [ROOT / 'setup.py', ROOT / 'CMakeLists.txt', *SOURCES]
    assert [str(path) for path in sources if header(path) != HEADER] == []


def test_the_package_is_as_catkin_tools_read_it() -> None:
    warnings: list[str] = []
    package = parse_package(str(ROOT / 'package.xml'), warnings=warnings)
    package.validate(warnings=warnings)
    assert warnings == []
    changes = get_changelog_from_path(str(ROOT / 'CHANGELOG.rst'), package.name)
    assert changes.rst


def test_c_plus_plus_style() -> None:
    pytest.importorskip('cpplint', reason='cpplint is not installed (requirements/test.txt)')
    options = ('--quiet', '--linelength=100', '--filter=' + ','.join(f'-{f}' for f in FILTERS))
    run(sys.executable, '-m', 'cpplint', *options, *CPP)


@pytest.mark.parametrize('tool', ['ament_cpplint', 'ament_xmllint'])
def test_the_linters_of_ros(tool: str) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f'{tool} is not installed: it comes with ROS 2')
    run(tool, *(CPP if tool == 'ament_cpplint' else ['package.xml']))
