# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The lifter as a process of its own, over real DDS."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
from lifter_process import (
    LifterProcess,
    compressed_message,
    depth_message,
    header,
    info_message,
    instances_message,
    pose_message,
    stamp_of,
)
from lifting_scene import CAMERA, SCENE
from sensor_msgs.msg import CompressedImage, Image, PointCloud2, PointField

from stmask_ros.lifter.transform_sources import has_tf2
from stmask_ros.msg import TrackedInstance3DArray
from stmask_ros.sources.rgbd_scene import render

POSE = (
    '-p', 'transforms:=pose', '-p', 'fixed_frame:=odom', '-p', 'transform_wait:=2.0')


def send(node: LifterProcess, number: int, with_pose: bool = True, epoch: int = 1) -> None:
    """Send image `number` of the scene: calibration, pose, depth, instances."""
    seen, stamp = render(SCENE, number / 10), stamp_of(number)
    node.image_info.publish(info_message(CAMERA, stamp))
    node.depth_info.publish(info_message(CAMERA, stamp))
    if with_pose:
        node.pose.publish(pose_message(seen.to_world, stamp))
    node.depth.publish(depth_message(seen.depth, stamp))
    node.instances.publish(instances_message(seen, stamp, number, epoch))


def answer_to(node: LifterProcess, number: int) -> TrackedInstance3DArray:
    """Send image `number`, again if something of it was lost, and return its answer."""
    return node.answer_to(number, lambda number: send(node, number))


@pytest.fixture(scope='module')
def lifter() -> Iterator[LifterProcess]:
    with LifterProcess('lifter_pose', *POSE, '-p', "remove_classes:=['class 1']") as node:
        node.connected()
        node.spin_until(lambda: node.pose.get_subscription_count() > 0, 'the pose')
        yield node


def check_books(node: LifterProcess) -> None:
    """Wait until nothing is in work, and check that every message is accounted for."""
    def balanced() -> bool:
        return all(
            node.count(f'{name} received') == node.count(f'{name} lifted')
            + node.count(f'{name} dropped') + node.count(f'{name} waiting or in work')
            and node.count(f'{name} dropped') == sum(
                int(value) for key, value in node.last_facts().items()
                if key.startswith(f'{name} dropped: '))
            for name in ('instances', 'depth'))
    node.spin_until(balanced, 'books that balance')


def test_tracks_are_in_the_fixed_frame_with_the_images_stamp(lifter: LifterProcess) -> None:
    points, markers, static = [], [], []
    lifter.listen(PointCloud2, 'points', points)
    lifter.listen(Image, 'depth_static', static)
    visualization = pytest.importorskip('visualization_msgs.msg')
    lifter.listen(visualization.MarkerArray, 'markers', markers)
    lifter.answer(lambda number: send(lifter, number))
    for number in range(100, 112):
        output = answer_to(lifter, number)
    assert output.header == header(stamp_of(111), 'odom')
    assert output.image_frame_id == 'camera'
    assert output.depth_stamp == output.header.stamp
    assert (output.epoch, output.sequence) == (1, 111)
    seen = render(SCENE, 11.1)
    for item in output.instances:
        inside = seen.ids == item.track_id
        rays = CAMERA.rays.reshape(*seen.ids.shape, 2)[inside]
        z = seen.depth[inside].astype(float)
        true = seen.to_world.apply(np.column_stack([rays * z[:, None], z])).mean(axis=0)
        found = np.array([item.position.x, item.position.y, item.position.z])
        assert item.measured
        assert np.linalg.norm(found - true) < 0.03
        assert item.valid_share == 1
        assert item.points_used > 50
        velocity = [item.velocity.x, item.velocity.y, item.velocity.z]
        np.testing.assert_allclose(
            velocity, SCENE.shapes[item.track_id - 1].velocity, atol=0.1)
        assert np.array(item.position_covariance).reshape(3, 3).trace() > 0
    lifter.spin_until(lambda: bool(points and markers and static), 'views')
    names = [field.name for field in points[-1].fields]
    assert names == ['x', 'y', 'z', 'score', 'instance_id', 'class_id']
    assert points[-1].header.frame_id == 'odom'
    ids = np.frombuffer(points[-1].data, '<u4').reshape(-1, points[-1].point_step // 4)[:, 4]
    assert set(ids.tolist()) == {item.track_id for item in output.instances}
    assert {marker.ns for marker in markers[-1].markers} >= {'boxes', 'ids'}
    depth = np.frombuffer(static[-1].data, np.uint16).reshape(CAMERA.size)
    assert np.all(depth[render(SCENE, 11.1).ids == 1] == 0)
    assert (depth > 0).mean() > 0.8
    check_books(lifter)


def test_boxes_in_space_come_as_vision_msgs(lifter: LifterProcess) -> None:
    messages = pytest.importorskip('vision_msgs.msg')
    heard: list[messages.Detection3DArray] = []
    lifter.listen(messages.Detection3DArray, 'detections_3d', heard)
    lifter.spin_until(
        lambda: lifter.client.count_publishers('/lifter_pose/detections_3d') > 0, 'the topic')
    output = answer_to(lifter, 150)
    for number in range(151, 160):
        output = answer_to(lifter, number)
        if heard:
            break
    lifter.spin_until(
        lambda: bool(heard) and heard[-1].header == output.header, 'the boxes of that image')
    places = {f'{output.epoch}-{item.track_id}': item for item in output.instances}
    assert {detection.id for detection in heard[-1].detections} == set(places)
    for detection in heard[-1].detections:
        item = places[detection.id]
        assert detection.results[0].hypothesis.class_id == item.class_name
        assert detection.results[0].pose.pose.position == item.position
        assert detection.bbox.center == item.box_pose
        assert detection.bbox.size == item.box_size


def test_depth_without_instances_is_counted(lifter: LifterProcess) -> None:
    before = lifter.count('depth received')
    for number in range(200, 205):
        seen = render(SCENE, 0.0)
        lifter.depth.publish(depth_message(seen.depth, stamp_of(number)))
    lifter.spin_until(
        lambda: lifter.count('depth received') >= before + 5, 'five more depth images')
    lifter.answer(lambda number: send(lifter, 210 + number))
    lifter.spin_until(
        lambda: lifter.count('depth dropped: no partner of this stamp') >= 5,
        'their end')
    check_books(lifter)


def test_late_transforms_are_waited_for_and_missing_ones_cost_their_pair(
    lifter: LifterProcess,
) -> None:
    answered = len(lifter.outputs)
    # Transforms are known up to here, and never extrapolated.
    send(lifter, 400, with_pose=False)
    lifter.spin_until(
        lambda: lifter.count('instances dropped: no transform') >= 1, 'a drop')
    assert len(lifter.outputs) == answered
    seen = render(SCENE, 40.1)
    send(lifter, 401, with_pose=False)
    time.sleep(0.2)
    lifter.pose.publish(pose_message(seen.to_world, stamp_of(401)))
    lifter.spin_until(lambda: len(lifter.outputs) > answered, 'the answer to a late pose')
    assert lifter.outputs[-1].header == header(stamp_of(401), 'odom')
    assert 'a pair was dropped' in lifter.log()
    check_books(lifter)


def broken_depths() -> list[Image]:
    good = render(SCENE, 0.0)
    wrong_encoding = depth_message(good.depth, 0)
    wrong_encoding.encoding = 'bgr8'
    wrong_step = depth_message(good.depth, 0)
    wrong_step.step = 3
    short = depth_message(good.depth, 0)
    short.height *= 2
    other_shape = depth_message(good.depth[:-17, :-3], 0)
    return [wrong_encoding, wrong_step, short, other_shape, Image()]


def test_broken_input_costs_itself_alone(lifter: LifterProcess) -> None:
    for offset, depth in enumerate(broken_depths()):
        number = 500 + offset
        seen, stamp = render(SCENE, 0.0), stamp_of(number)
        lifter.pose.publish(pose_message(seen.to_world, stamp))
        depth.header = header(stamp)
        answered = len(lifter.outputs)
        lifter.depth.publish(depth)
        lifter.instances.publish(instances_message(seen, stamp, number))
        before = lifter.count('instances dropped')
        lifter.spin_until(
            lambda before=before: lifter.count('instances dropped') > before,
            f'the end of broken depth {offset}')
        assert len(lifter.outputs) == answered
    reasons = {key for key in lifter.last_facts() if key.startswith('instances dropped: ')}
    assert reasons >= {'instances dropped: ' + reason for reason in (
        'depth encoding', 'depth step', 'short depth data', 'calibration size')}
    assert lifter.status is not None and lifter.status.level == lifter.status.ERROR
    lifter.answer(lambda number: send(lifter, 600 + number))
    lifter.spin_until(
        lambda: lifter.status is not None and lifter.status.level == lifter.status.OK,
        'a good report')
    check_books(lifter)


def spoil(message: object, random: np.random.Generator) -> None:
    """Change a field or two of a message to what no sane publisher sends."""
    for _ in range(int(random.integers(1, 3))):
        name = str(random.choice([
            name for name, kind in message.get_fields_and_field_types().items()  # type: ignore
            if kind.startswith(('uint', 'string', 'float', 'double')) and name != 'is_bigendian']))
        value = getattr(message, name)
        if isinstance(value, str):
            setattr(message, name, str(random.choice(['', 'x', '32FC1', 'equidistant', 'lidar'])))
        elif isinstance(value, float):
            setattr(message, name, float(random.choice([np.nan, np.inf, -1.0, 0.0])))
        elif isinstance(value, int):
            setattr(message, name, int(random.choice([0, 1, 5, 200])))
        elif name in ('k', 'd', 'p', 'r'):
            value[int(random.integers(len(value)))] = float(random.choice([0.0, np.nan, -1e30]))
        else:
            del value[int(random.integers(len(value) + 1)):]


def test_a_storm_of_wrong_input_is_survived(lifter: LifterProcess, long: bool) -> None:
    random, seen = np.random.default_rng(0), render(SCENE, 0.0)
    count = 1000 if long else 120
    before = lifter.count('instances received')
    for number in range(700, 700 + count):
        stamp = stamp_of(number)
        lifter.pose.publish(pose_message(seen.to_world, stamp))
        info, depth = info_message(CAMERA, stamp), depth_message(seen.depth, stamp)
        instances = instances_message(seen, stamp, number)
        chosen = [info, depth, instances, instances.instances[0].mask][int(random.integers(4))]
        spoil(chosen, random)
        lifter.depth_info.publish(info)
        lifter.depth.publish(depth)
        lifter.instances.publish(instances)
        lifter.executor.spin_once(timeout_sec=0.01)
    lifter.spin_until(
        lambda: lifter.count('instances received') >= before + count * 0.9, 'most of it')
    lifter.answer(lambda number: send(lifter, 5000 + number))
    check_books(lifter)
    reasons = [key for key in lifter.last_facts() if key.startswith('instances dropped: ')]
    assert len(reasons) > 4
    assert 'Traceback' not in lifter.log()


def test_without_tf2_it_says_so_and_works_in_the_optical_frame() -> None:
    if has_tf2():
        pytest.skip('tf2_ros is installed')
    with LifterProcess('lifter_bare', '-p', 'fixed_frame:=odom') as node:
        node.connected()
        output = node.answer(lambda number: send(node, number, with_pose=False))
        assert output.header.frame_id == 'camera'
        assert 'tf2_ros is not installed' in node.log()
        node.spin_until(
            lambda: node.status is not None and 'tf2_ros is not installed' in node.status.message,
            'a warning')
        assert node.status is not None and node.status.level == node.status.WARN
        assert 'relative to the camera' in node.last_facts()['output frame']


def test_compressed_depth() -> None:
    arguments = ('-p', 'input:=compressed_depth')
    with LifterProcess('lifter_png', *arguments, transport=CompressedImage) as node:
        node.connected()

        def send_compressed(number: int) -> None:
            seen, stamp = render(SCENE, 0.0), stamp_of(number)
            node.depth_info.publish(info_message(CAMERA, stamp))
            node.depth.publish(compressed_message(seen.depth, stamp))
            node.instances.publish(instances_message(seen, stamp, number))
        output = node.answer(send_compressed)
        assert all(item.measured for item in output.instances)


def test_points_of_another_frame_and_their_static_rest() -> None:
    """A cloud with more fields; extrinsics from a parameter; the classes removed from it."""
    arguments = ('-p', 'input:=points', '-p', "extrinsics:='0 0 0 0 0 0 1'",
                 '-p', "remove_classes:=['1']", '-p', 'slop:=0.02')
    with LifterProcess('lifter_points', *arguments, transport=PointCloud2) as node:
        node.wait_for_connection(node.instances, node.depth, node.image_info)
        static: list[PointCloud2] = []
        node.listen(PointCloud2, 'points_static', static)
        seen = render(SCENE, 0.0)

        def send_cloud(number: int) -> None:
            stamp = stamp_of(number)
            node.image_info.publish(info_message(CAMERA, stamp))
            node.instances.publish(instances_message(seen, stamp, number))
            node.depth.publish(cloud_message(seen.depth, stamp + 5_000_000))
        output = node.answer(send_cloud)
        assert all(item.measured for item in output.instances)
        assert np.isnan(output.instances[0].valid_share)
        node.spin_until(lambda: bool(static) or node.answer(send_cloud) is None, 'the rest')
        assert static[-1].header.frame_id == 'lidar'
        rest = np.frombuffer(static[-1].data, np.float32).reshape(-1, 4)
        indices = rest[:, 3].astype(int)
        assert not (seen.ids.ravel()[indices] == 1).any()
        assert 0.5 * seen.ids.size < len(rest) < seen.ids.size


def cloud_message(depth: np.ndarray, stamp: int) -> PointCloud2:
    z = depth.reshape(-1, 1)
    index = np.arange(len(z), dtype=np.float32)[:, None]
    points = np.hstack([CAMERA.rays * z, z, index]).astype(np.float32)
    fields = [PointField(name=name, offset=4 * place, datatype=PointField.FLOAT32, count=1)
              for place, name in enumerate(('x', 'y', 'z', 'intensity'))]
    message = PointCloud2(
        header=header(stamp, 'lidar'), height=1, width=len(points), fields=fields, point_step=16,
        row_step=16 * len(points))
    message.data.frombytes(points.tobytes())
    return message


@pytest.mark.parametrize(('argument', 'text'), [
    ('slop:=5.0', 'slop'),
    ("extrinsics:='1 2'", 'expected seven numbers'),
    ('publish_tf:=true', 'tf2_ros is not installed'),
])
def test_wrong_parameters_end_it_with_the_reason(argument: str, text: str) -> None:
    if 'publish_tf' in argument and has_tf2():
        pytest.skip('tf2_ros is installed')
    with LifterProcess('lifter_wrong', '-p', argument) as node:
        assert node.process.wait(60) == 1
        assert text in node.log()
