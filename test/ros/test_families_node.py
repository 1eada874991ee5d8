# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The node serves every family: a process each, with a small model."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from lifecycle_msgs.msg import Transition
from segmenter_process import SegmenterProcess, image
from sensor_msgs.msg import Image
from toy_segmenter import UNIT_TESTS, command_for

sys.path.append(UNIT_TESTS)

from family_models import NAMES, model_of


@pytest.fixture(params=NAMES)
def node(request: pytest.FixtureRequest) -> Iterator[SegmenterProcess]:
    family = str(request.param)
    name = f'of_{family}'
    process = SegmenterProcess(
        name, '-p', f'model:={model_of(family)}', '-p', 'torch_threads:=1',
        '-p', 'score_threshold:=0.0',
        '-p', f'qos_overrides./{name}/camera.subscription.reliability:=reliable',
        command=command_for(family),
    )
    try:
        yield process
    finally:
        process.close()


def test_a_camera_is_answered_whatever_it_sends(node: SegmenterProcess) -> None:
    """Instances, a bad image that costs itself, a reset, and a second life after a clean-up."""
    node.activate()
    first = node.answer(image(1001))
    second = node.answer(image(1002, shift=3))
    assert (second.epoch, second.sequence) == (first.epoch, first.sequence + 1)
    assert first.instances or second.instances
    before = node.counts()
    node.images.publish(Image(header=image(1003).header, height=4, width=4, encoding='bgr8'))
    while node.counts().received == before.received:
        pass
    third = node.answer(image(1004))
    assert (third.epoch, third.sequence) == (first.epoch, first.sequence + 2)
    node.reset()
    assert node.answer(image(1005)).epoch == first.epoch + 1
    assert node.change_state(Transition.TRANSITION_DEACTIVATE)
    assert node.change_state(Transition.TRANSITION_CLEANUP)
    node.activate()
    assert node.answer(image(2001)).sequence == 1
