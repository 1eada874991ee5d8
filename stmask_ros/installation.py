# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What pip has to install beside ROS 2, and what to say where it is missing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Imported name and name for pip of what no rosdep key brings as a system package.
FROM_PIP = {
    'mcap': 'mcap',
    'orjson': 'orjson',
    'pycocotools': 'pycocotools',
    'rosbags': 'rosbags',
    'safetensors': 'safetensors',
    'torch': 'torch',
    'torchvision': 'torchvision',
}


@contextmanager
def missing_libraries_explained() -> Iterator[None]:
    """
    Turn the missing of a library that pip installs into one sentence and exit code 1.

    For the start of a program, around the imports of its modules. Other errors pass.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        name = (error.name or '').partition('.')[0]
        if name not in FROM_PIP:
            raise
        sys.exit(explanation(name))


def explanation(name: str) -> str:
    """Return the sentence for an imported name that is a key of FROM_PIP."""
    command = f'{sys.executable} -m pip install {" ".join(FROM_PIP.values())}'
    return (
        f"the Python package '{FROM_PIP[name]}' is missing from {sys.executable}: install what "
        f'rosdep does not bring with: {command}'
    )
