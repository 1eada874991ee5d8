# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What a node does not use is not imported when it starts: that took most of its first seconds."""

from __future__ import annotations

import json
import subprocess
import sys

SLOW = ['torchvision', 'torch._dynamo', 'scipy.optimize', 'stmask_ros.families.stmask.training']
FIRST_IMAGE = f"""
import json, sys
import numpy as np
from stmask_ros.tracking.segmenter import load_segmenter
segmenter = load_segmenter('stmask_lite', 'cpu')
image = np.zeros((64, 64, 3), np.uint8)
segmenter.step([image], [segmenter.initial_state(1)], [1])
print(json.dumps([name for name in {SLOW} if name in sys.modules]))
"""


def test_the_first_image_is_answered_without_slow_imports() -> None:
    """By the shipped model on the CPU."""
    answer = subprocess.run(
        [sys.executable, '-c', FIRST_IMAGE], capture_output=True, text=True, check=True)
    assert json.loads(answer.stdout) == []
