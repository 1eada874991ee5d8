# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A bag that holds instances and depth gets the instances in space beside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lifter_process import (
    depth_message,
    header,
    info_message,
    instances_message,
    pose_message,
    quaternion,
)
from lifting_scene import CAMERA, SCENE
from rclpy.serialization import serialize_message
from segmenter_process import UNTRAINED

from stmask_ros.bags.files import BagError, BagWriter, bag_topics, read_bag
from stmask_ros.bags.types import message_types
from stmask_ros.cli import main
from stmask_ros.commands.bag_lift import LiftedTopics, lift_bag
from stmask_ros.lifting.transforms import Transform
from stmask_ros.ros.messages import image_message
from stmask_ros.sources.rgbd_scene import render

COUNT = 12
TOPICS = LiftedTopics(
    image='/camera/image_raw', instances='/segmenter/instances', output='/lifter/instances_3d',
    depth='/camera/depth/image_raw', pose='/pose', fixed_frame='odom')


def stamp_of(number: int) -> int:
    return 1_000_000_000 + number * 100_000_000


def write_bag(
    folder: Path, transforms: str, missing: int = -1, with_images: bool = False
) -> None:
    """
    Write instances, depth, camera_info and transforms: 'pose' or 'tf'; one depth missing.

    with_images: the images in place of what a segmenter says of them.
    """
    with BagWriter(folder) as bag:
        for number in range(COUNT):
            seen, stamp = render(SCENE, number / 10), stamp_of(number)

            def write(topic, kind, message, stamp=stamp):
                bag.write(topic, kind, stamp, serialize_message(message))
            write('/camera/camera_info', 'sensor_msgs/msg/CameraInfo', info_message(CAMERA, stamp))
            write('/camera/depth/camera_info', 'sensor_msgs/msg/CameraInfo',
                  info_message(CAMERA, stamp))
            if transforms == 'pose':
                write('/pose', 'geometry_msgs/msg/PoseStamped',
                      pose_message(seen.to_world, stamp))
            else:
                bag.write('/tf', 'tf2_msgs/msg/TFMessage', stamp, tf(seen.to_world, stamp))
            if with_images:
                write(TOPICS.image, 'sensor_msgs/msg/Image',
                      image_message(seen.picture, 'bgr8', header(stamp)))
            else:
                write(TOPICS.instances, 'stmask_ros/msg/TrackedInstanceArray',
                      instances_message(seen, stamp, number))
            if number != missing:
                write(TOPICS.depth, 'sensor_msgs/msg/Image', depth_message(seen.depth, stamp))


def tf(pose: Transform, stamp: int) -> bytes:
    """Return a serialised TFMessage: tf2_msgs is not on PyPI, but rosbags knows its type."""
    types = message_types().types
    turn = types['geometry_msgs/msg/Quaternion'](*quaternion(pose.rotation))
    shift = types['geometry_msgs/msg/Vector3'](*pose.translation.tolist())
    time = types['builtin_interfaces/msg/Time'](stamp // 10**9, stamp % 10**9)
    transform = types['geometry_msgs/msg/TransformStamped'](
        types['std_msgs/msg/Header'](time, 'odom'), 'camera',
        types['geometry_msgs/msg/Transform'](shift, turn))
    message = types['tf2_msgs/msg/TFMessage']([transform])
    return bytes(message_types().serialize_cdr(message, 'tf2_msgs/msg/TFMessage'))


@pytest.mark.parametrize('transforms', ['pose', 'tf'])
def test_every_image_with_depth_is_lifted(tmp_path, transforms, caplog):
    write_bag(tmp_path / 'bag', transforms, missing=5)
    pose = '/pose' if transforms == 'pose' else ''
    topics = LiftedTopics(**{**vars(TOPICS), 'pose': pose})
    assert lift_bag(tmp_path / 'bag', tmp_path / 'out', topics) == COUNT - 1
    assert 'no depth of their stamp' in caplog.text
    lifted = [message.content for message in read_bag(tmp_path / 'out', TOPICS.output)]
    assert {content.header.frame_id for content in lifted} == {'odom'}
    assert [content.sequence for content in lifted] == [n for n in range(COUNT) if n != 5]
    box = next(item for item in lifted[-1].instances if item.track_id == 1)
    assert box.measured
    np.testing.assert_allclose(
        [box.box_pose.position.x, box.box_pose.position.y], SCENE.shapes[0].center[:2], atol=0.06)
    assert abs(box.velocity.y) < 0.1
    kept = set(bag_topics(tmp_path / 'bag'))
    assert set(bag_topics(tmp_path / 'out')) == kept | {TOPICS.output}


def test_bag_annotate_lifts_what_it_finds(tmp_path):
    """The whole command, from images and depth to tracks in the fixed frame."""
    write_bag(tmp_path / 'bag', 'pose', with_images=True)
    out = tmp_path / 'out'
    assert main([
        'bag', 'annotate', str(tmp_path / 'bag'), str(out), '--model', str(UNTRAINED),
        '--device', 'cpu', '--depth-topic', TOPICS.depth, '--pose-topic', '/pose',
        '--fixed-frame', 'odom']) == 0
    found = [message.content for message in read_bag(out, TOPICS.instances)]
    lifted = [message.content for message in read_bag(out, TOPICS.output)]
    assert len(lifted) == COUNT
    for flat, solid in zip(found, lifted, strict=True):
        assert solid.header.frame_id == 'odom'
        assert solid.header.stamp == flat.header.stamp
        assert [item.track_id for item in solid.instances] == [
            item.track_id for item in flat.instances]
    assert any(item.measured for solid in lifted for item in solid.instances)
    assert set(bag_topics(tmp_path / 'bag')) < set(bag_topics(out))


def test_without_transforms_it_is_the_optical_frame(tmp_path):
    write_bag(tmp_path / 'bag', 'pose')
    topics = LiftedTopics(**{**vars(TOPICS), 'pose': '', 'fixed_frame': ''})
    lift_bag(tmp_path / 'bag', tmp_path / 'out', topics)
    first = next(read_bag(tmp_path / 'out', TOPICS.output)).content
    assert first.header.frame_id == 'camera'


@pytest.mark.parametrize(('change', 'text'), [
    ({'depth': '/nowhere'}, '/nowhere is no topic of depth'),
    ({'pose': '', 'fixed_frame': 'map'}, 'could be lifted'),
])
def test_what_cannot_be_lifted_is_named(tmp_path, change, text):
    write_bag(tmp_path / 'bag', 'pose')
    with pytest.raises(BagError, match=text):
        lift_bag(tmp_path / 'bag', tmp_path / 'out', LiftedTopics(**{**vars(TOPICS), **change}))
