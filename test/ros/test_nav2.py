# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The topics that Nav2's semantic segmentation layer reads, subscribed to and read as it does.

Images best effort with a depth of 50, joined by exact stamp as the example has it; data by row
times width plus column; the class map reliable and transient local, after it was published.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from segmenter_process import HEIGHT, LATCHED, UNTRAINED, WIDTH, SegmenterProcess, image
from sensor_msgs.msg import Image

from stmask_ros.masks import decode
from stmask_ros.models.checkpoint import find_model, read_description
from stmask_ros.msg import LabelInfo, TrackedInstance, TrackedInstanceArray

NAME = 'segmenter_nav2'
PARAMETERS = Path(__file__).resolve().parents[2] / 'config' / 'nav2' / 'local_costmap.yaml'
SENSOR_DATA = QoSProfile(
    depth=50, reliability=ReliabilityPolicy.BEST_EFFORT, durability=DurabilityPolicy.VOLATILE)


@pytest.fixture(scope='module')
def segmenter() -> Iterator[SegmenterProcess]:
    with SegmenterProcess(NAME, '-p', f'model:={UNTRAINED}') as process:
        process.activate()
        yield process


@pytest.fixture(scope='module')
def camera() -> dict[str, Any]:
    """Return what the example says of the layer's source."""
    costmap = yaml.safe_load(PARAMETERS.read_text())['local_costmap']['local_costmap']
    layer = costmap['ros__parameters']['semantic_segmentation_layer']
    assert layer['use_approximate_time_sync'] is False
    source: dict[str, Any] = layer[layer['observation_sources']]
    return source


class Layer:
    """Listens as the layer does; keeps the images by stamp."""

    def __init__(self, segmenter: SegmenterProcess, camera: dict[str, Any]) -> None:
        self._segmenter = segmenter
        self.received: dict[str, dict[int, Image]] = {}
        for source in ('segmentation_topic', 'confidence_topic'):
            images = self.received[source] = {}

            def keep(message: Image, images: dict[int, Image] = images) -> None:
                images[stamp_of(message)] = message

            topic = camera[source].replace('/segmenter/', f'/{NAME}/')
            segmenter.client.create_subscription(Image, topic, keep, SENSOR_DATA)

    def synchronised(self) -> tuple[TrackedInstanceArray, Image, Image]:
        """Return an answer with the two images of its very stamp."""
        classes, confidences = self.received.values()
        for stamp in range(1000, 1330, 33):
            answer = self._segmenter.answer(image(stamp))
            number, end = stamp_of(answer), time.monotonic() + 2.0
            self._segmenter.spin_until(
                lambda number=number, end=end: (number in classes and number in confidences)
                or time.monotonic() > end, 'both images')
            if number in classes and number in confidences:
                return answer, classes[number], confidences[number]
        raise AssertionError(self._segmenter.log())


def stamp_of(message: Any) -> int:
    return int(message.header.stamp.sec * 10**9 + message.header.stamp.nanosec)


def test_every_pixel_has_its_class_and_confidence(
    segmenter: SegmenterProcess, camera: dict[str, Any]
) -> None:
    answer, segmentation, confidence = Layer(segmenter, camera).synchronised()
    for message in (segmentation, confidence):
        assert message.header == answer.header
        assert (message.encoding, message.height, message.width) == ('mono8', HEIGHT, WIDTH)
        assert len(message.data) == HEIGHT * WIDTH
    living = [item for item in answer.instances if item.state != TrackedInstance.TERMINATED]
    masks = [(decode(item.mask).to_full(HEIGHT, WIDTH), item) for item in living]
    assert any(mask.any() for mask, _ in masks)
    for v, u in itertools.product(range(0, HEIGHT, 7), range(0, WIDTH, 7)):
        here = [item for mask, item in masks if mask[v, u]]
        index = v * segmentation.width + u
        if not here:
            assert (segmentation.data[index], confidence.data[index]) == (0, 0)
            continue
        best = max(item.score for item in here)
        assert segmentation.data[index] in {i.class_id for i in here if i.score == best}
        assert confidence.data[index] == max(round(best * 255), 1)


def test_the_class_map_is_there_for_who_comes_late(
    segmenter: SegmenterProcess, camera: dict[str, Any]
) -> None:
    messages = pytest.importorskip('vision_msgs.msg', reason='vision_msgs is not installed')
    received: list[Any] = []
    ours: list[LabelInfo] = []
    topic = camera['labels_topic'].replace('/segmenter/', f'/{NAME}/')
    segmenter.client.create_subscription(messages.LabelInfo, topic, received.append, LATCHED)
    segmenter.client.create_subscription(LabelInfo, f'/{NAME}/label_info', ours.append, LATCHED)
    segmenter.spin_until(lambda: bool(received and ours), 'the class map')
    names = {item.class_id: item.class_name for item in received[-1].class_map}
    assert names == dict(enumerate(['background', *ours[-1].class_names]))
    assert received[-1].threshold == pytest.approx(ours[-1].score_threshold)


def test_the_example_names_what_there_is(
    segmenter: SegmenterProcess, camera: dict[str, Any]
) -> None:
    """Its topics are the node's, its classes those of the model that ships."""
    topics = dict(segmenter.client.get_topic_names_and_types())
    for source in ('segmentation_topic', 'confidence_topic'):
        assert topics[camera[source].replace('/segmenter/', f'/{NAME}/')] == [
            'sensor_msgs/msg/Image']
    known = {'background', *read_description(find_model('stmask_lite')).classes}
    named = [name for kind in camera['class_types'] for name in camera[kind]['classes']]
    assert set(named) <= known
    assert len(named) == len(set(named))
    for kind in camera['class_types']:
        costs = camera[kind]
        assert 0 <= costs['base_cost'] <= costs['max_cost'] <= 254
        assert 0 <= costs['mark_confidence'] <= 255
