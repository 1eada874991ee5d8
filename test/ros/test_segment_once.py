# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""~/segment: one image by itself, answered between the images of a live node's streams."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lifecycle_msgs.msg import Transition
from segmenter_process import UNTRAINED, SegmenterProcess, image
from sensor_msgs.msg import Image

from stmask_ros.srv import Segment


@pytest.fixture
def segmenter() -> Iterator[SegmenterProcess]:
    node = SegmenterProcess(
        'at_once', '-p', f'model:={UNTRAINED}', '-p', 'device:=cpu', '-p', 'torch_threads:=1')
    node.activate()
    yield node
    node.close()


def segment(node: SegmenterProcess, message: Image) -> Segment.Response:
    return node.call(Segment, 'segment', Segment.Request(image=message))


def test_an_image_by_itself(segmenter: SegmenterProcess) -> None:
    """As the first of an epoch, whatever the stream has seen; and the stream goes on as before."""
    first = segmenter.answer(image(1000))
    segmenter.answer(image(1100, shift=5))
    alone = segment(segmenter, image(1000))
    assert alone.success, alone.message
    assert alone.result.epoch == 0
    assert not alone.result.temporal_valid
    assert alone.result.header == first.header
    assert alone.result.model == first.model
    assert [(its.track_id, its.class_id, its.class_name, its.score, its.mask)
            for its in alone.result.instances] == [
        (its.track_id, its.class_id, its.class_name, its.score, its.mask)
        for its in first.instances]
    third = segmenter.answer(image(1200, shift=10))
    assert (third.sequence, third.frames_skipped) == (3, 0)
    segmenter.reset()
    again = [segmenter.answer(image(2000 + 100 * n, shift=5 * n)) for n in range(3)]
    assert [its.track_id for its in again[2].instances] == [
        its.track_id for its in third.instances]
    assert [its.mask for its in again[2].instances] == [its.mask for its in third.instances]
    facts = segmenter.facts()
    assert [facts[f'segment requests {what}'] for what in (
        'received', 'answered', 'refused', 'waiting')] == ['1', '1', '0', '0']


def test_classes_apply_and_where_cameras_look_does_not(segmenter: SegmenterProcess) -> None:
    """A request is of no camera: its image is looked at as a whole."""
    everywhere = segment(segmenter, image(1000)).result.instances
    assert everywhere
    assert all(result.successful for result in segmenter.set_parameters(
        region=['0 0 0.1 0.1'], crop=True))
    assert segment(segmenter, image(1000)).result.instances == everywhere
    off = everywhere[0].class_name
    others = sorted({'person', 'animal', 'vehicle', 'object'} - {off})
    assert all(result.successful for result in segmenter.set_parameters(classes=others))
    fewer = segment(segmenter, image(1000)).result.instances
    assert off not in {its.class_name for its in fewer}


def test_what_is_not_segmented(segmenter: SegmenterProcess) -> None:
    """A bad image, and a node that is not active, with the reason."""
    wrong = image(1000)
    wrong.encoding = '32FC1'
    refused = segment(segmenter, wrong)
    assert not refused.success
    assert '32FC1' in refused.message
    assert segmenter.change_state(Transition.TRANSITION_DEACTIVATE)
    refused = segment(segmenter, image(1000))
    assert (refused.success, refused.message) == (False, 'not active: no images are answered')
    facts = segmenter.facts()
    assert [facts[f'segment requests {what}'] for what in (
        'received', 'answered', 'refused', 'waiting')] == ['2', '0', '2', '0']
    assert 'Traceback' not in segmenter.log()


def test_a_stream_waits_for_one_step_at_most(segmenter: SegmenterProcess) -> None:
    """Requests and images take turns: between two images there is one request."""
    client = segmenter.client.create_client(Segment, '/at_once/segment')
    segmenter.spin_until(client.service_is_ready, 'the service')
    calls = [client.call_async(Segment.Request(image=image(1000))) for _ in range(4)]
    answered_before = []
    for number in range(1, 30):
        segmenter.answer_to(image(1000 + number))
        answered_before.append(sum(call.done() for call in calls))
        if answered_before[-1] == 4:
            break
    segmenter.spin_until(lambda: all(call.done() for call in calls), 'the answers')
    assert all(call.result().success for call in calls)
    # What images were in line shows in their numbers: none was skipped for a request.
    assert segmenter.outputs[-1].sequence == len(answered_before)
