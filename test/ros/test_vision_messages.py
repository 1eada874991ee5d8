# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The tests that skip where vision_msgs is not installed, run with messages of these fields."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from message_packages import environment

FOLDER = Path(__file__).parent


@pytest.mark.parametrize('test', [
    'test_nav2.py::test_the_class_map_is_there_for_who_comes_late',
    'test_load_model.py::test_the_class_map_is_told_again',
    'test_segmenter_images.py::test_boxes_come_as_vision_msgs',
    'test_node_security.py::test_the_policy_is_what_the_segmenter_uses',
    'test_node_security.py::test_the_policy_is_what_the_lifter_uses',
    'test_lifter_node.py::test_boxes_in_space_come_as_vision_msgs',
], ids=lambda test: test.partition('::')[2])
def test_where_vision_msgs_is_installed(test: str) -> None:
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-rs', '-p', 'no:cacheprovider', FOLDER / test],
        env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '1 passed' in done.stdout
