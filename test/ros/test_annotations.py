# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What viewers draw by themselves: ImageMarker in step with the instances, over DDS."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from message_packages import environment
from segmenter_process import RELIABLE, UNTRAINED, SegmenterProcess, image

NAME = 'annotated'
LISTENER = Path(__file__).with_name('annotation_listener.py')


def test_outlines_and_annotations_show_every_instance() -> None:
    """Lazily, under the image's header; the listener for Foxglove's type is another process."""
    messages = pytest.importorskip('visualization_msgs.msg', reason='no visualization_msgs')
    variables = environment()
    markers = []
    with SegmenterProcess(NAME, '-p', f'model:={UNTRAINED}', env=variables) as segmenter:
        segmenter.activate()
        segmenter.client.create_subscription(
            messages.ImageMarker, f'/{NAME}/outlines', markers.append, RELIABLE)
        listener = subprocess.Popen(
            [sys.executable, str(LISTENER), f'/{NAME}/annotations'], env=variables, text=True,
            stdout=subprocess.PIPE)
        stamp = 1000

        def heard() -> bool:
            nonlocal stamp
            stamp += 33
            segmenter.answer(image(stamp))
            return bool(markers) and listener.poll() is not None

        segmenter.spin_until(heard, 'outlines and annotations')
        answer = segmenter.answer(image(stamp + 33))
        segmenter.spin_until(lambda: markers[-1].header == answer.header, 'the last outlines')
    assert listener.stdout is not None
    points, texts = map(int, listener.stdout.read().split())
    assert points > texts > 0
    marker = markers[-1]
    assert marker.type == messages.ImageMarker.LINE_LIST
    assert len(marker.points) == 2 * len(marker.outline_colors) > 0
    lines = np.array([(point.x, point.y) for point in marker.points])
    assert lines.min() >= 0
    assert (lines.max(0) <= [answer.image_width, answer.image_height]).all()
