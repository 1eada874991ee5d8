# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The lifter with real tf2: a camera that moves, and transforms that miss, are late and jump."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

pytest.importorskip('tf2_ros', reason='tf2_ros is not installed (it is not on PyPI)')

import tf2_ros
from geometry_msgs.msg import TransformStamped
from lifecycle_msgs.msg import Transition
from lifter_process import (
    LifterProcess,
    depth_message,
    header,
    info_message,
    instances_message,
    quaternion,
    stamp_of,
)
from lifting_scene import CAMERA, SCENE
from rclpy.time import Time
from rosgraph_msgs.msg import Clock

from stmask_ros.lifting.transforms import Transform
from stmask_ros.msg import TrackedInstance3DArray
from stmask_ros.sources.rgbd_scene import render

CAMERA_IN_BASE = Transform.from_numbers((0.2, 0.0, 0.4), (-0.5, 0.5, -0.5, 0.5))
DEPTH_IN_CAMERA = Transform.from_numbers((-0.05, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))
DEPTH_SCENE = replace(SCENE, pose=lambda seconds: SCENE.pose(seconds).after(DEPTH_IN_CAMERA))


def stamped(transform: Transform, parent: str, child: str, stamp: int) -> TransformStamped:
    message = TransformStamped(header=header(stamp, parent), child_frame_id=child)
    shift, turn = message.transform.translation, message.transform.rotation
    shift.x, shift.y, shift.z = transform.translation.tolist()
    turn.x, turn.y, turn.z, turn.w = quaternion(transform.rotation)
    return message


class Robot:
    """Publishes images of the scene, with depth of another camera, and its own pose on /tf."""

    def __init__(self, node: LifterProcess) -> None:
        self.node = node
        self.jump = np.zeros(3)  # of odometry, since it began [m]
        self._moving = tf2_ros.TransformBroadcaster(node.client)
        self._fixed = tf2_ros.StaticTransformBroadcaster(node.client)
        self._fixed.sendTransform([
            stamped(CAMERA_IN_BASE, 'base', 'camera', 0),
            stamped(DEPTH_IN_CAMERA, 'camera', 'depth', 0)])

    def send_pose(self, number: float) -> None:
        pose = SCENE.pose(number / 10).after(CAMERA_IN_BASE.inverse())
        moved = replace(pose, translation=pose.translation + self.jump)
        self._moving.sendTransform(stamped(moved, 'odom', 'base', stamp_of(number)))

    def send(self, number: int) -> None:
        stamp = stamp_of(number)
        seen = render(SCENE, number / 10)
        self.node.image_info.publish(info_message(CAMERA, stamp))
        self.node.depth_info.publish(info_message(CAMERA, stamp))
        depth = render(DEPTH_SCENE, number / 10).depth
        self.node.depth.publish(depth_message(depth, stamp, 'depth'))
        self.node.instances.publish(instances_message(seen, stamp, abs(number)))

    def answer_to(self, number: int) -> TrackedInstance3DArray:
        """Send an image and the poses before and after it, and return its answer."""
        def send_all(number: int) -> None:
            self.send_pose(number - 0.5)
            self.send_pose(number + 0.5)
            self.send(number)
        return self.node.answer_to(number, send_all)


@pytest.fixture(scope='module')
def robot() -> Iterator[Robot]:
    arguments = ('fixed_frame:=odom', 'publish_tf:=true', 'transform_wait:=2.0')
    parameters = [item for argument in arguments for item in ('-p', argument)]
    with LifterProcess('lifter_tf2', *parameters) as node:
        node.connected()
        yield Robot(node)


def place(item: object) -> np.ndarray:
    position = item.position  # type: ignore[attr-defined]
    return np.array([position.x, position.y, position.z])


def true_place(number: int, index: int) -> np.ndarray:
    """Return the middle of what is visible of a shape."""
    seen = render(SCENE, number / 10)
    inside = seen.ids.ravel() == index
    z = seen.depth.ravel()[inside].astype(float)[:, None]
    points = np.hstack([CAMERA.rays[inside] * z, z])
    return np.asarray(seen.to_world.apply(points).mean(axis=0))


def test_things_that_stand_still_do_so_before_a_camera_that_moves(robot: Robot) -> None:
    for number in range(100, 112):
        output = robot.answer_to(number)
    assert output.header == header(stamp_of(111), 'odom')
    assert len(output.instances) == len(SCENE.shapes)
    for item in output.instances:
        assert item.measured
        assert np.linalg.norm(place(item) - true_place(111, item.track_id)) < 0.03
        assert np.linalg.norm([item.velocity.x, item.velocity.y, item.velocity.z]) < 0.1


def test_each_track_is_a_frame(robot: Robot) -> None:
    buffer = tf2_ros.Buffer()
    tf2_ros.TransformListener(buffer, robot.node.client)
    output = robot.answer_to(112)
    at = Time(nanoseconds=stamp_of(112))
    for item in output.instances:
        frame = f'lifter_tf2/track_1_{item.track_id}'
        robot.node.spin_until(partial(buffer.can_transform, 'odom', frame, at), frame)
        found = buffer.lookup_transform('odom', frame, at).transform
        assert np.array_equal(
            [found.translation.x, found.translation.y, found.translation.z], place(item))
        assert found.rotation == item.box_pose.orientation


def test_late_transforms_are_waited_for_and_missing_ones_cost_their_pair(robot: Robot) -> None:
    node, lost = robot.node, 'instances dropped: no transform'
    answered = len(node.outputs)
    for number in (200, -20_000):  # (the latter before time zero)
        dropped = node.count(lost)
        robot.send(number)
        node.spin_until(lambda before=dropped: node.count(lost) > before, 'a drop')
    assert len(node.outputs) == answered
    assert 'tf2: ' in node.log()
    robot.send(201)
    node.spin_until(lambda: node.count('instances waiting or in work') == 1, 'that it waits')
    robot.send_pose(200.5)
    robot.send_pose(201.5)
    node.spin_until(lambda: len(node.outputs) > answered, 'the answer to a late pose')
    assert node.outputs[-1].header == header(stamp_of(201), 'odom')


def test_a_jump_of_odometry_is_predicted_over_and_then_followed(robot: Robot) -> None:
    for number in range(300, 304):
        output = robot.answer_to(number)
    before = [place(item) for item in output.instances]
    robot.jump = np.array([3.0, 0.0, 0.0])
    output = robot.answer_to(304)
    for item, still in zip(output.instances, before, strict=True):
        assert not item.measured
        assert np.linalg.norm(place(item) - still) < 0.1
    for number in range(305, 309):
        output = robot.answer_to(number)
    for item, still in zip(output.instances, before, strict=True):
        assert item.measured
        assert np.linalg.norm(place(item) - still - robot.jump) < 0.1


def test_it_may_be_deactivated_and_activated_again(robot: Robot) -> None:
    node = robot.node
    for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP,
                       Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        assert node.change_state(transition)
    node.connected()
    assert robot.answer_to(310).header == header(stamp_of(310), 'odom')
    # The robot's publisher and the node's.
    node.spin_until(lambda: node.client.count_publishers('/tf') == 2, 'no publisher left behind')
    assert node.client.count_services('/tf2_frames') == 1


def test_time_that_jumps_back_clears_the_buffer() -> None:
    """As at the end of a bag that is played in a loop, with its clock."""
    arguments = ('fixed_frame:=odom', 'transform_wait:=2.0', 'use_sim_time:=true')
    parameters = [item for argument in arguments for item in ('-p', argument)]
    with LifterProcess('lifter_clock', *parameters) as node:
        clock = node.client.create_publisher(Clock, '/clock', 10)
        node.connected()
        robot = Robot(node)
        for number in (900, 100):
            node.spin_until(lambda: clock.get_subscription_count() > 0, 'the clock')
            clock.publish(Clock(clock=header(stamp_of(number)).stamp))
            output = robot.answer_to(number)
            assert output.header == header(stamp_of(number), 'odom')
            assert all(item.measured for item in output.instances)
        assert 'Clearing tf buffer' in node.log()
