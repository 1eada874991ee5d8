# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What the package imports, requirements/python.txt installs."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import tomllib

ROOT = Path(__file__).resolve().parents[2]

# Modules that are not called as the package on PyPI that brings them.
PROJECTS = {'PIL': 'pillow', 'cv2': 'opencv-python-headless', 'skimage': 'scikit-image',
            'yaml': 'pyyaml'}

# These come with ROS 2 (requirements/kilted.txt and jazzy.txt, or an installation).
ROS = re.compile(r'rclpy|launch|launch_ros|cv_bridge|ament_index_python|builtin_interfaces|'
                 r'rosidl_runtime_py|std_srvs|rcl_interfaces|tf2_ros|\w+_msgs')


def imported_modules() -> set[str]:
    """Return the top-level names of all modules that the package's sources import."""
    names = set()
    for source in (ROOT / 'stmask_ros').rglob('*.py'):
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split('.')[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.split('.')[0])
    return names - sys.stdlib_module_names - {'stmask_ros'}


def test_every_imported_library_is_in_the_requirements_or_an_extra() -> None:
    lines = (ROOT / 'requirements' / 'python.txt').read_text().splitlines()
    required = {re.split(r'[<>=\[]', line)[0].strip() for line in lines if line[:1].isalpha()}
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
    required |= {name for extra in project['optional-dependencies'].values() for name in extra}
    needed = {PROJECTS.get(name, name) for name in imported_modules() if not ROS.fullmatch(name)}
    assert needed <= required
