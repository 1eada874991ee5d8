# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The segmenter with one more family: `python toy_segmenter.py --ros-args ...`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

UNIT_TESTS = str(Path(__file__).resolve().parents[1] / 'unit')


def command_for(family: str) -> Sequence[str]:
    """Return what starts a segmenter that knows a family."""
    if family == 'toy':
        return sys.executable, __file__
    return sys.executable, '-m', 'stmask_ros.node.segmenter_node'


if __name__ == '__main__':
    sys.path[0] = ''  # as for `python -m`: the package of the working directory comes first
    sys.path.append(UNIT_TESTS)
    from family_models import add_toy

    from stmask_ros.node.segmenter_node import main

    add_toy()
    main()
