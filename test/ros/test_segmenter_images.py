# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The running segmenter: every image is answered under its own header, or counted as dropped."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from lifecycle_msgs.msg import State, Transition
from publisher_process import publisher_on
from rclpy.qos import QoSProfile, ReliabilityPolicy
from segmenter_process import (
    HEIGHT,
    LATCHED,
    RELIABLE,
    UNTRAINED,
    WIDTH,
    SegmenterProcess,
    every_image,
    image,
)
from sensor_msgs.msg import CompressedImage, Image

from stmask_ros.images import compressed_to_bgr
from stmask_ros.masks import decode
from stmask_ros.msg import LabelInfo, TrackedInstance
from stmask_ros.ros.image_messages import compressed_from_bgr

NAME = 'segmenter_images'
TOPIC = f'/{NAME}/camera'


@pytest.fixture(scope='module')
def process() -> Iterator[SegmenterProcess]:
    arguments = ('-p', f'model:={UNTRAINED}', *every_image(TOPIC))
    with SegmenterProcess(NAME, *arguments) as segmenter:
        segmenter.activate()
        yield segmenter


@pytest.fixture
def segmenter(process: SegmenterProcess) -> SegmenterProcess:
    """Return the running node, at the start of an epoch."""
    process.reset()
    return process


def test_the_header_comes_back_bit_for_bit(segmenter: SegmenterProcess) -> None:
    """Odd frame ids and stamps are copied, never made up or tidied."""
    for number, (frame_id, sec, nanosec) in enumerate([
        ('', 0, 1), ('a/b c\t"ä\u2603', 1, 999_999_999), ('x' * 300, 2**31 - 1, 4_294_967_295),
        ('camera', -5, 7), ('camera', 0, 0),
    ]):
        message = image(1, shift=number)
        message.header.frame_id = frame_id
        message.header.stamp = Time(sec=sec, nanosec=nanosec)
        assert segmenter.answer(message).header == message.header


def test_instances_are_whole_and_right(segmenter: SegmenterProcess) -> None:
    """Ids are unique and ordered, masks fill their region, boxes lie in the image."""
    first = segmenter.answer(image(1000))
    second = segmenter.answer(image(1033, shift=2))
    assert (first.temporal_valid, second.temporal_valid) == (False, True)
    assert (first.sequence, second.sequence, second.frames_skipped) == (1, 2, 0)
    assert (second.image_width, second.image_height) == (WIDTH, HEIGHT)
    assert second.model.startswith('untrained@')
    assert second.processing_time.sec * 10**9 + second.processing_time.nanosec > 0
    ids = [item.track_id for item in second.instances]
    assert ids and ids == sorted(set(ids))
    for item in second.instances:
        _check_instance(item)


def _check_instance(item: TrackedInstance) -> None:
    assert 0 <= item.x_min <= item.x_max <= WIDTH
    assert 0 <= item.y_min <= item.y_max <= HEIGHT
    assert item.class_name
    assert item.first_seen.nanosec in (0, 33_000_000)
    mask = decode(item.mask)
    assert mask.to_full(HEIGHT, WIDTH).sum() == item.mask.area
    assert mask.area == 0 or (mask.pixels.any(0)[[0, -1]].all()
                              and mask.pixels.any(1)[[0, -1]].all())


def test_an_empty_frame_is_published(segmenter: SegmenterProcess) -> None:
    """With a threshold that nothing reaches, the answer is an array without instances."""
    assert segmenter.set_parameters(score_threshold=1.0)[0].successful
    try:
        assert len(segmenter.answer(image(1000)).instances) == 0
    finally:
        assert segmenter.set_parameters(score_threshold=0.05)[0].successful


def test_an_overload_is_accounted_for_exactly(segmenter: SegmenterProcess) -> None:
    """Far more images than the node can answer: none is lost from the books, the last is seen."""
    before, already = segmenter.counts(), len(segmenter.outputs)
    sent = 100
    for number in range(sent):
        segmenter.images.publish(image(1000 + number))
    segmenter.spin_until(
        lambda: bool(segmenter.outputs[already:])
        and segmenter.outputs[-1].header.stamp == image(1000 + sent - 1).header.stamp,
        'the answer to the last image')
    answers = segmenter.outputs[already:]
    after = segmenter.counts()
    assert after.received - before.received == sent
    assert after.processed - before.processed == len(answers) < sent
    replaced = ['replaced by a newer image']
    assert after.dropped(replaced) - before.dropped(replaced) == sent - len(answers)
    assert sum(answer.frames_skipped for answer in answers) == sent - len(answers)
    stamps = [answer.header.stamp.sec * 1000 + answer.header.stamp.nanosec // 10**6
              for answer in answers]
    gaps = [here - there - 1 for there, here in zip([999, *stamps], stamps, strict=False)]
    assert [answer.frames_skipped for answer in answers] == gaps


def _unknown_encoding(message: Image) -> None:
    message.encoding = '32FC1'


def _short(message: Image) -> None:
    del message.data[-1:]


def _empty(message: Image) -> None:
    message.width = message.height = 0


def _narrow_step(message: Image) -> None:
    message.step = WIDTH


def _vast_step(message: Image) -> None:
    message.step = 2**32 - 1


def _vast_size(message: Image) -> None:
    message.width = message.height = 2**32 - 1


@pytest.mark.parametrize(('spoil', 'reason'), [
    (_unknown_encoding, 'encoding'),
    (_short, 'short data'),
    (_empty, 'size'),
    (_narrow_step, 'step'),
    (_vast_step, 'short data'),
    (_vast_size, 'size'),
])
def test_a_bad_image_costs_itself_alone(
    segmenter: SegmenterProcess, spoil: Callable[[Image], None], reason: str
) -> None:
    """It is dropped for its reason; the next good one is answered, and knows of the gap."""
    segmenter.answer(image(1000))
    before = segmenter.counts()
    bad = image(1033)
    spoil(bad)
    segmenter.images.publish(bad)
    segmenter.wait_for_drop(reason, before)
    answer = segmenter.answer(image(1066))
    assert (answer.frames_skipped, answer.sequence, answer.temporal_valid) == (1, 2, True)


def test_a_repeated_stamp_is_processed_once(segmenter: SegmenterProcess) -> None:
    """The second image of a stamp is dropped; the stream goes on."""
    segmenter.answer(image(1000))
    before = segmenter.counts()
    segmenter.images.publish(image(1000))
    segmenter.wait_for_drop('repeated stamp', before)
    assert segmenter.answer(image(1033)).sequence == 2


@pytest.mark.parametrize('break_off', ['back', 'leap', 'resolution', 'reset'])
def test_a_break_starts_a_new_epoch(segmenter: SegmenterProcess, break_off: str) -> None:
    """Ids and sequence start again, under a higher epoch, and nothing is carried over."""
    last = segmenter.answer(image(50_000))
    follower = image({'back': 49_999, 'leap': 60_001}.get(break_off, 50_033))
    if break_off == 'resolution':
        follower.height -= 2
    if break_off == 'reset':
        segmenter.reset()
    answer = segmenter.answer(follower)
    assert (answer.epoch, answer.sequence) == (last.epoch + 1, 1)
    assert not answer.temporal_valid
    assert min(item.track_id for item in answer.instances) == 1
    assert segmenter.answer(image(61_000)).epoch >= answer.epoch


def test_images_without_stamps_are_one_stream(segmenter: SegmenterProcess) -> None:
    """Stamp zero: each is processed, and time decides nothing."""
    answers = [segmenter.answer(image(0, shift=number)) for number in range(3)]
    assert [answer.sequence for answer in answers] == [1, 2, 3]


def test_while_disabled_images_are_dropped(segmenter: SegmenterProcess) -> None:
    """They are counted as disabled, and the first answer afterwards knows how many."""
    segmenter.answer(image(1000))
    segmenter.set_enabled(False)
    try:
        before = segmenter.counts()
        for number in range(3):
            segmenter.images.publish(image(1033 + number))
        segmenter.wait_for_drop('disabled', before, 3)
    finally:
        segmenter.set_enabled(True)
    assert segmenter.answer(image(1100)).frames_skipped == 3


def test_pictures_are_made_for_listeners_alone(segmenter: SegmenterProcess) -> None:
    """Overlay and label image appear with a subscriber, in step with the instances."""
    received: dict[str, list[Any]] = {'overlay': [], 'label_image': [], 'overlay/compressed': []}
    subscriptions = [
        segmenter.client.create_subscription(
            CompressedImage if topic.endswith('compressed') else Image, f'/{NAME}/{topic}',
            images.append, RELIABLE)
        for topic, images in received.items()
    ]
    segmenter.spin_until(
        lambda: all(segmenter.client.count_publishers(f'/{NAME}/{topic}') for topic in received),
        'the topics of the pictures')
    stamp = 1000

    def both_arrived() -> bool:
        nonlocal stamp
        stamp += 33
        segmenter.answer(image(stamp))
        return all(received.values())

    segmenter.spin_until(both_arrived, 'both pictures')
    answer = segmenter.answer(image(stamp + 33))
    segmenter.spin_until(
        lambda: all(images[-1].header == answer.header for images in received.values()),
        'the pictures of the last image')
    overlay, labels = received['overlay'][-1], received['label_image'][-1]
    assert (overlay.encoding, labels.encoding) == ('bgr8', 'mono16')
    assert (overlay.height, overlay.width, overlay.step) == (HEIGHT, WIDTH, 3 * WIDTH)
    jpeg = compressed_to_bgr(received['overlay/compressed'][-1])
    drawn = np.frombuffer(overlay.data, np.uint8).reshape(HEIGHT, WIDTH, 3)
    same = compressed_to_bgr(compressed_from_bgr(drawn, answer.header))
    np.testing.assert_array_equal(jpeg, same)
    _check_labels(labels, {item.track_id: item for item in answer.instances})
    for subscription in subscriptions:
        segmenter.client.destroy_subscription(subscription)


def test_boxes_come_as_vision_msgs(segmenter: SegmenterProcess) -> None:
    """Those of ~/instances, where vision_msgs is installed."""
    messages = pytest.importorskip('vision_msgs.msg', reason='vision_msgs is not installed')
    received: list[Any] = []
    subscription = segmenter.client.create_subscription(
        messages.Detection2DArray, f'/{NAME}/detections', received.append, RELIABLE)
    stamps = itertools.count(1000, 33)
    segmenter.spin_until(
        lambda: segmenter.answer(image(next(stamps))) is not None and bool(received),
        'the first detections')
    answer = segmenter.answer(image(next(stamps)))
    segmenter.spin_until(
        lambda: received[-1].header == answer.header, 'the detections of the last image')
    lasting = [item for item in answer.instances if item.state != TrackedInstance.TERMINATED]
    assert lasting
    for item, detection in zip(lasting, received[-1].detections, strict=True):
        assert detection.header == answer.header
        assert detection.id == f'{answer.epoch}-{item.track_id}'
        (result,) = detection.results
        assert result.hypothesis.class_id == item.class_name
        assert result.hypothesis.score == pytest.approx(item.score)
        box = detection.bbox
        center = box.center.position
        assert (center.x - box.size_x / 2, center.y - box.size_y / 2) == pytest.approx(
            (item.x_min, item.y_min), abs=1e-3)
        assert (center.x + box.size_x / 2, center.y + box.size_y / 2) == pytest.approx(
            (item.x_max, item.y_max), abs=1e-3)
    segmenter.client.destroy_subscription(subscription)


def _check_labels(labels: Image, instances: dict[int, TrackedInstance]) -> None:
    """Every pixel names the instance of the highest score among those that cover it."""
    pixels = np.frombuffer(labels.data, np.uint16).reshape(HEIGHT, WIDTH)
    best = np.zeros((HEIGHT, WIDTH), np.float32)
    for item in instances.values():
        inside = decode(item.mask).to_full(HEIGHT, WIDTH)
        best = np.maximum(best, inside * np.float32(item.score))
    scores = np.zeros(2**16, np.float32)
    for track_id, item in instances.items():
        scores[track_id] = item.score
    np.testing.assert_array_equal(scores[pixels], best)
    assert pixels.any()


def test_late_listeners_get_the_classes(segmenter: SegmenterProcess) -> None:
    """~/label_info is latched, and follows the threshold."""
    received: list[LabelInfo] = []
    segmenter.client.create_subscription(
        LabelInfo, f'/{NAME}/label_info', received.append, LATCHED)
    segmenter.spin_until(lambda: bool(received), 'label_info')
    assert received[0].class_names == ['person', 'animal', 'vehicle', 'object']
    assert received[0].score_threshold == pytest.approx(0.05)
    segmenter.set_parameters(score_threshold=0.5)
    segmenter.spin_until(lambda: received[-1].score_threshold == 0.5, 'the new threshold')
    segmenter.set_parameters(score_threshold=0.05)


def test_parameters_change_from_the_next_image_on(segmenter: SegmenterProcess) -> None:
    """A threshold, the mask encoding and the class names obey at once."""
    everything = segmenter.answer(image(1000))
    threshold = float(np.median([item.score for item in everything.instances])) + 1e-4
    results = segmenter.set_parameters(
        score_threshold=threshold, mask_encoding='bitpack', publish_class_names=False)
    assert all(result.successful for result in results)
    segmenter.reset()
    answer = segmenter.answer(image(1033))
    assert 0 < len(answer.instances) < len(everything.instances)
    assert all(item.score >= threshold for item in answer.instances)
    assert {item.mask.encoding for item in answer.instances} == {2}
    assert {item.class_name for item in answer.instances} == {''}
    for item in answer.instances:
        assert decode(item.mask).area == item.mask.area
    segmenter.set_parameters(
        score_threshold=0.05, mask_encoding='coco_rle', publish_class_names=True)


@pytest.mark.parametrize(('name', 'value', 'expected'), [
    ('mask_encoding', 'png', "'png' is none of coco_rle, bitpack, mono8, none"),
    ('score_threshold', 1.5, 'score_threshold'),
    ('score_threshold', float('nan'), 'score_threshold'),
    ('score_threshold', 1, 'type'),
    ('confirm_hits', 0, 'confirm_hits'),
    ('model', 'another', 'read-only'),
    ('capacity', 3, 'read-only'),
])
def test_a_wrong_parameter_is_refused_with_its_reason(
    segmenter: SegmenterProcess, name: str, value: object, expected: str
) -> None:
    """The refusal says why, and the value in force stays."""
    before = segmenter.parameter(name)
    result = segmenter.set_parameters(**{name: value})[0]
    assert not result.successful
    assert expected in result.reason
    assert segmenter.parameter(name) == before


def test_an_incompatible_publisher_is_named_with_the_cure(segmenter: SegmenterProcess) -> None:
    """A best-effort publisher cannot serve a reliable subscription: one warning says so."""
    best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    publisher = segmenter.client.create_publisher(Image, TOPIC, best_effort)
    segmenter.wait_for_log('no images will come from')
    log = segmenter.log()
    assert f'on {TOPIC}: it offers best_effort volatile, this node requests reliable' in log
    assert f'qos_overrides.{TOPIC}.subscription' in log
    segmenter.spin_until(lambda: segmenter.facts()['incompatible publishers'] == '1', 'it counted')
    assert segmenter.status is not None
    assert segmenter.status.level == segmenter.status.WARN
    assert f'on {TOPIC}: it offers best_effort volatile' in segmenter.status.message
    assert segmenter.answer(image(1000)).header == image(1000).header  # of the one that fits
    segmenter.client.destroy_publisher(publisher)
    segmenter.spin_until(lambda: segmenter.facts()['incompatible publishers'] == '0', 'its end')
    assert segmenter.log().count('no images will come from') == 1


def test_a_publisher_of_another_type_is_named_with_the_cure(segmenter: SegmenterProcess) -> None:
    """Compressed images on the topic of raw ones: nothing would come, and nobody would know."""
    with publisher_on(TOPIC):
        segmenter.wait_for_log('it publishes sensor_msgs/msg/CompressedImage')
        assert 'this node takes sensor_msgs/msg/Image' in segmenter.log()
        segmenter.spin_until(
            lambda: segmenter.facts()['incompatible publishers'] == '1', 'it counted')
        assert segmenter.answer(image(1000)).header == image(1000).header
    segmenter.spin_until(lambda: segmenter.facts()['incompatible publishers'] == '0', 'its end')


def test_a_message_that_cannot_be_read_costs_itself_alone(segmenter: SegmenterProcess) -> None:
    """Bytes that are no image at all: the next image is answered."""
    publisher = segmenter.client.create_publisher(Image, TOPIC, RELIABLE)
    segmenter.spin_until(lambda: publisher.get_subscription_count() == 1, 'a subscription')
    publisher.publish(b'\x00\x01\x00\x00' + b'\xff' * 60)
    assert segmenter.answer(image(1000)).header == image(1000).header
    segmenter.client.destroy_publisher(publisher)


def test_a_new_activation_is_a_new_epoch(segmenter: SegmenterProcess) -> None:
    """Deactivated, nothing is answered; activated again, the epoch has risen."""
    last = segmenter.answer(image(1000))
    assert segmenter.change_state(Transition.TRANSITION_DEACTIVATE)
    assert segmenter.state() == State.PRIMARY_STATE_INACTIVE
    segmenter.spin_until(
        lambda: segmenter.images.get_subscription_count() == 0, 'the end of the subscription')
    assert segmenter.change_state(Transition.TRANSITION_ACTIVATE)
    segmenter.warm_up(image)
    answer = segmenter.answer(image(1033))
    assert answer.epoch > last.epoch
    assert (answer.sequence, answer.temporal_valid) == (1, False)


def test_the_diagnostics_tell_the_truth(segmenter: SegmenterProcess) -> None:
    """Untrained weights are a warning; latency, rate, tracks and epoch are there."""
    answer = segmenter.answer(image(1000))
    facts = segmenter.facts()
    assert segmenter.status is not None
    assert segmenter.status.level == segmenter.status.WARN
    assert facts['state'] == 'active'
    assert facts['device'] == 'cpu'
    assert facts['precision'] in ('float32', 'bfloat16')
    assert facts['engine'].startswith('torch ')
    assert facts['model'] == answer.model
    assert facts['epoch'] == str(answer.epoch)
    assert facts['live tracks'] == str(len(answer.instances))
    p50, p95, p99 = map(float, facts['latency from receipt, p50 / p95 / p99 [ms]'].split(' / '))
    assert 0 < p50 <= p95 <= p99
    counts = segmenter.counts()
    assert counts.received == counts.processed + counts.dropped()
