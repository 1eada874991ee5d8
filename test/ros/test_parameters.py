# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Parameters of the running segmenter: changes that count, refusals that change nothing."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType, SetParametersResult
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParametersAtomically
from rclpy.node import Node
from rclpy.parameter import Parameter, get_parameter_value
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from segmenter_process import UNTRAINED, SegmenterProcess, image
from sensor_msgs.msg import Image

from stmask_ros.msg import TrackedInstance
from stmask_ros.node.parameters import Parameters
from stmask_ros.ros.parameter_rules import rule_of
from stmask_ros.ros.parameter_server import ParameterServer

NAME = 'segmenter_parameters'
PARAMETER_FILE = Path(__file__).resolve().parents[2] / 'config' / 'stmask.yaml'
TOPIC = f'/{NAME}/camera'
FIELDS = {field.name: field for field in dataclasses.fields(Parameters)}


@pytest.fixture(scope='module')
def process() -> Iterator[SegmenterProcess]:
    segmenter = SegmenterProcess(
        NAME, '-p', f'model:={UNTRAINED}',
        '-p', f'qos_overrides.{TOPIC}.subscription.durability:=transient_local',
        '-p', f'qos_overrides.{TOPIC}.subscription.reliability:=reliable',
        '-p', f'qos_overrides./{NAME}/overlay.publisher.durability:=transient_local',
        '-p', f'qos_overrides./{NAME}/label_info.publisher.depth:=3',
    )
    # What the subscription asks for is more than the client's own publisher offers.
    segmenter.images = segmenter.client.create_publisher(Image, TOPIC, QoSProfile(
        depth=1, reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL))
    try:
        segmenter.activate()
        yield segmenter
    finally:
        segmenter.close()


@pytest.fixture
def segmenter(process: SegmenterProcess) -> Iterator[SegmenterProcess]:
    """Return the running node at the start of an epoch; its parameters are put back."""
    process.reset()
    before = {name: process.parameter(name) for name, field in FIELDS.items()
              if not rule_of(field).read_only}
    yield process
    results = set_together(process, [
        Parameter.from_parameter_msg(ParameterMessage(name=name, value=value))
        for name, value in before.items()])
    assert results.successful, results.reason


def set_together(
    segmenter: SegmenterProcess, parameters: list[Parameter[Any]]
) -> SetParametersResult:
    request = SetParametersAtomically.Request(
        parameters=[parameter.to_parameter_msg() for parameter in parameters])
    return segmenter.call(SetParametersAtomically, 'set_parameters_atomically', request).result


def test_one_wrong_value_refuses_the_whole_set(segmenter: SegmenterProcess) -> None:
    """All are validated before any is applied; the reasons of all that are wrong are told."""
    before = [segmenter.parameter(name) for name in ('max_missed', 'mask_encoding')]
    result = set_together(segmenter, [
        Parameter('max_missed', value=3), Parameter('mask_encoding', value='bitpack'),
        Parameter('publish_class_names', value=False), Parameter('score_threshold', value=2.0)])
    assert not result.successful
    assert 'score_threshold' in result.reason
    assert [segmenter.parameter(name) for name in ('max_missed', 'mask_encoding')] == before
    answer = segmenter.answer(image(1000))
    assert {item.mask.encoding for item in answer.instances} == {1}
    assert all(item.class_name for item in answer.instances)


def test_a_right_set_is_applied_as_a_whole(segmenter: SegmenterProcess) -> None:
    result = set_together(segmenter, [
        Parameter('mask_encoding', value='mono8'), Parameter('publish_class_names', value=False)])
    assert result.successful
    answer = segmenter.answer(image(1000))
    assert {item.mask.encoding for item in answer.instances} == {3}
    assert not any(item.class_name for item in answer.instances)


def test_the_tracker_obeys_from_the_next_image_on(segmenter: SegmenterProcess) -> None:
    """confirm_hits, nms_threshold, max_gap, max_missed and birth_threshold, by what they do."""
    first = segmenter.answer(image(1000))
    assert {item.state for item in first.instances} == {TrackedInstance.TENTATIVE}
    assert set_together(segmenter, [
        Parameter('confirm_hits', value=1), Parameter('nms_threshold', value=0.0),
        Parameter('max_gap', value=0.5)]).successful
    within = segmenter.answer(image(1400))
    assert within.epoch == first.epoch
    beyond = segmenter.answer(image(1901))
    assert beyond.epoch == first.epoch + 1
    assert {item.state for item in beyond.instances} == {TrackedInstance.CONFIRMED}
    assert 0 < len(beyond.instances) < len(first.instances)
    assert set_together(segmenter, [
        Parameter('max_missed', value=0), Parameter('score_threshold', value=1.0)]).successful
    ended = segmenter.answer(image(1933))
    assert {item.state for item in ended.instances} == {TrackedInstance.TERMINATED}
    # Those without a single pixel were not shown while they lived.
    assert {item.track_id for item in beyond.instances} <= {
        item.track_id for item in ended.instances}
    assert set_together(segmenter, [
        Parameter('score_threshold', value=0.05),
        Parameter('birth_threshold', value=1.0)]).successful
    assert not segmenter.answer(image(3000)).instances


def test_every_parameter_describes_itself(segmenter: SegmenterProcess) -> None:
    request = DescribeParameters.Request(names=list(FIELDS))
    answers = segmenter.call(DescribeParameters, 'describe_parameters', request).descriptors
    for descriptor, field in zip(answers, FIELDS.values(), strict=True):
        rule = rule_of(field)
        assert (descriptor.name, descriptor.description) == (field.name, rule.description)
        assert descriptor.read_only == rule.read_only
        ranges = list(descriptor.floating_point_range) + list(descriptor.integer_range)
        assert [(item.from_value, item.to_value) for item in ranges] == (
            [] if rule.minimum is None else [(rule.minimum, rule.maximum)])
        assert descriptor.additional_constraints == ', '.join(rule.choices)


def test_all_parameters_are_answered_at_once(segmenter: SegmenterProcess) -> None:
    """As `ros2 param dump` asks: one parameter without a value would empty the whole answer."""
    names = list(FIELDS)
    answer = segmenter.call(
        GetParameters, 'get_parameters', GetParameters.Request(names=names))
    assert len(answer.values) == len(names)
    assert all(value.type != ParameterType.PARAMETER_NOT_SET for value in answer.values)
    assert answer.values[names.index('cameras')].string_array_value == ['']


@pytest.mark.parametrize(('given', 'expected'), [
    ([], ()), (['-p', 'cameras:=[]'], ()), (['-p', "cameras:=['']"], ()),
    (['--params-file', str(PARAMETER_FILE)], ()), (['-p', 'cameras:=[a, b]'], ('a', 'b')),
])
def test_a_list_of_texts_always_has_a_value(given: list[str], expected: tuple[str, ...]) -> None:
    context = rclpy.Context()
    rclpy.init(args=['--ros-args', *given], context=context)
    node = Node('segmenter', context=context)
    try:
        values = ParameterServer(node, Parameters, lambda _: None).values
        assert values.cameras == expected
        assert node.get_parameter('cameras').value == list(expected or [''])
        assert node.describe_parameter('cameras').read_only
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


def test_no_texts_are_set_in_either_way(segmenter: SegmenterProcess) -> None:
    """`ros2 param set` makes a list of bool of `[]`; what is dumped can be read from a file."""
    for empty in ('[]', "['']"):
        assert set_together(segmenter, [Parameter('classes', value=['person'])]).successful
        written = ParameterMessage(name='classes', value=get_parameter_value(empty))
        result = set_together(segmenter, [Parameter.from_parameter_msg(written)])
        assert result.successful, result.reason
        assert segmenter.parameter('classes').string_array_value == ['']
    wrong = Parameter.from_parameter_msg(
        ParameterMessage(name='classes', value=get_parameter_value('[1, 2]')))
    assert 'parameter type' in set_together(segmenter, [wrong]).reason
    read_only = Parameter.from_parameter_msg(
        ParameterMessage(name='cameras', value=get_parameter_value('[]')))
    assert not set_together(segmenter, [read_only]).successful


def test_a_parameter_that_does_not_exist_is_told_with_the_nearest_name(tmp_path: Path) -> None:
    file = tmp_path / 'parameters.yaml'
    file.write_text('/**:\n  ros__parameters:\n    score_treshold: 0.9\n    jpeg_quality: 5\n')
    with SegmenterProcess(
        'segmenter_misspelt', '-p', f'model:={UNTRAINED}', '-p', 'birth_treshold:=0.1',
        '-p', 'zzz:=1', '-p', 'use_sim_time:=false', '--params-file', str(file),
        '-p', 'qos_overrides./segmenter_misspelt/camera.subscription.reliabilty:=reliable',
        '-p', 'qos_overrides./segmenter_misspelt/camera.subscription.depth:=2',
        '-p', 'qos_overrides./segmenter_misspelt/camera.publisher.depth:=2',
    ) as process:
        process.activate()
        log = process.log()
    assert "no parameter 'birth_treshold', its value is not used: did you mean birth_thresh" in log
    assert "no parameter 'score_treshold'" in log
    assert "no parameter 'zzz'" in log
    topic = 'qos_overrides./segmenter_misspelt/camera.subscription'
    assert f"no parameter '{topic}.reliabilty', its value is not used: did you mean " \
        f'{topic}.reliability?' in log
    # What concerns the camera is in a file for both.
    assert log.count('no parameter') == 4


@pytest.mark.parametrize('module', [
    'stmask_ros.node.segmenter_node', 'stmask_ros.camera.node', 'stmask_ros.lifter.lifter_node',
])
def test_help_tells_every_parameter(module: str) -> None:
    command = [sys.executable, '-m', module, '--help']
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ''
    assert 'ros2 run stmask_ros' in done.stdout
    name = {'segmenter_node': 'score_threshold', 'node': 'source', 'lifter_node': 'slop'}
    assert f'\n  {name[module.rpartition(".")[2]]}: ' in done.stdout


def test_quality_of_service_is_overridden_for_each_topic(segmenter: SegmenterProcess) -> None:
    subscription, = segmenter.client.get_subscriptions_info_by_topic(TOPIC)
    assert subscription.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
    assert subscription.qos_profile.reliability == ReliabilityPolicy.RELIABLE
    overlay, = segmenter.client.get_publishers_info_by_topic(f'/{NAME}/overlay')
    assert overlay.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
    topics = [(f'/{NAME}/{topic}', 'publisher') for topic in (
        'instances', 'label_info', 'label_image', 'overlay',
        'overlay/compressed')]
    names = [f'qos_overrides.{topic}.{end}.{policy}'
             for topic, end in [*topics, ('/diagnostics', 'publisher'), (TOPIC, 'subscription')]
             for policy in ('reliability', 'durability', 'history', 'depth')]
    request = GetParameters.Request(names=names)
    values = segmenter.call(GetParameters, 'get_parameters', request).values
    given = dict(zip(names, values, strict=True))
    assert all(value.type != ParameterType.PARAMETER_NOT_SET for value in values)
    assert given[f'qos_overrides./{NAME}/label_info.publisher.depth'].integer_value == 3


def test_a_publisher_that_does_not_keep_its_images_is_named(segmenter: SegmenterProcess) -> None:
    """Durability counts as reliability does: the client's first publisher is volatile."""
    segmenter.wait_for_log('it offers reliable volatile, this node requests reliable transient')


@pytest.mark.parametrize(('override', 'reason'), [
    ('/wrong_qos/instances.publisher.reliability:=best', 'not configured: /wrong_qos/instances'),
    ('/wrong_qos/overlay.publisher.durability:=forever', 'not configured: /wrong_qos/overlay'),
    ('/wrong_qos/camera.subscription.depth:=many', 'not activated: /wrong_qos/camera'),
    ('/diagnostics.publisher.reliability:=perfect', 'cannot start'),
])
def test_a_wrong_quality_of_service_is_refused_with_its_reason(override: str, reason: str) -> None:
    segmenter = SegmenterProcess(
        'wrong_qos', '-p', f'model:={UNTRAINED}', '-p', 'autostart:=true',
        '-p', f'qos_overrides.{override}')
    try:
        assert segmenter.process.wait(60) == 1
        assert reason in segmenter.log()
        assert override.split(':=')[1] in segmenter.log()
        assert 'Traceback' not in segmenter.log()
    finally:
        segmenter.close()
