# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Start a camera and the segmenter, which configures and activates itself.

The built-in clip, a webcam, and a camera driver that runs already:

    ros2 launch stmask_ros camera.launch.py
    ros2 launch stmask_ros camera.launch.py source:=device:0
    ros2 launch stmask_ros camera.launch.py image_topic:=/front/image_raw

With depth, the lifter comes up too, and says where things are in space:

    ros2 launch stmask_ros camera.launch.py image_topic:=/rgb/image depth_topic:=/depth/image

An argument that is left empty does not touch the value in the parameter file.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    OpaqueFunction,
    Shutdown,
    TimerAction,
)
from launch.events.process import ProcessExited
from launch.logging import get_logger
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from stmask_ros.ros.launching import (
    SEGMENTER_PARAMETERS,
    argument,
    base_topic,
    camera_remappings,
    general_arguments,
    lifter,
    lifter_arguments,
    node_options,
    report_exit,
    segmenter_arguments,
    value_of,
)
from stmask_ros.ros.transport import use_large_message_profile

CONFIG = Path(__file__).resolve().parent.parent / 'config'

# The arguments that set a parameter of the same name.
CAMERA_PARAMETERS = {
    'source': str,
    'rate': float,
    'loop': bool,
    'stamps': str,
    'bag_topic': str,
    'wait_for_subscribers': int,
    'use_sim_time': bool,
}


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and what they start."""
    return LaunchDescription([
        *general_arguments(CONFIG / 'stmask.yaml'),
        *_camera_arguments(),
        *segmenter_arguments(),
        *lifter_arguments(CONFIG / 'lifter.yaml'),
        argument(
            'image_topic', 'Topic of the raw images; compressed ones come from <topic>/compressed.'
            ' Empty: image_raw of the camera node.',
        ),
        argument(
            'rviz', 'Show the camera image and the overlay in RViz: true or false.', 'false',
        ),
        OpaqueFunction(function=_start),
    ])


def _camera_arguments() -> list[DeclareLaunchArgument]:
    return [
        argument(
            'camera', 'Start the camera node: true or false. Empty: only if no image_topic is '
            'given.',
        ),
        argument(
            'source', 'What the camera node plays: device:0, a video file, a folder of images or '
            'a bag. Empty: as in params_file, which plays the built-in clip.',
        ),
        argument('rate', "Images a second. 0.0: the source's own rate."),
        argument(
            'loop', 'Play the source over and over: true or false. If false, everything stops at '
            'its end.',
        ),
        argument(
            'stamps', "Stamp images with the node's time of publication (node) or as recorded in "
            'a bag (source).', '', ['', 'node', 'source'],
        ),
        argument(
            'bag_topic', 'Image topic in the bag. Empty: one in colour before depth, infrared and '
            "a segmenter's pictures.",
        ),
        argument(
            'wait_for_subscribers', 'Begin only when the images have this many subscriptions.',
        ),
        argument(
            'linger', 'Seconds between the end of the source and the stop, in which the '
            'segmenter finishes its last image.', '5.0',
        ),
    ]


def _start(context: LaunchContext) -> list[Action]:
    """Return the actions that the values of the arguments ask for."""
    given_topic = value_of(context, 'image_topic', str)
    topic = base_topic(given_topic or 'image_raw')
    camera = value_of(context, 'camera', bool)
    if camera is None:
        camera = given_topic is None
    get_logger('stmask').info(use_large_message_profile(context.environment).text)
    actions: list[Action] = [_segmenter(context, topic)]
    if camera:
        actions.append(_camera(context, topic))
    lifters = lifter(
        context, LaunchConfiguration('namespace'), topic,
        f'{value_of(context, "name", str)}/instances',
        (value_of(context, 'depth_topic', str), value_of(context, 'points_topic', str)))
    actions += lifters
    if value_of(context, 'rviz', bool):
        actions += _rviz(context, topic, bool(lifters))
    return actions


def _segmenter(context: LaunchContext, topic: str) -> Node:
    """
    Return the segmenter, told to configure and activate itself; it ends if that fails.

    Requests to change its state would race with DDS discovery: their answers, and the events of
    the transitions, are lost if the node is heard before it hears.
    """
    return Node(
        executable='segmenter',
        name=LaunchConfiguration('name'),
        remappings=[('image', topic)],
        on_exit=report_exit,
        **node_options(context, SEGMENTER_PARAMETERS, {'autostart': True}),
    )


def _camera(context: LaunchContext, topic: str) -> Node:
    linger = value_of(context, 'linger', float) or 0.0

    def stop(event: ProcessExited, context: LaunchContext) -> list[Action] | None:
        if event.returncode != 0 or context.is_shutdown:
            return report_exit(event, context)
        end = Shutdown(reason='the camera reached the end of its source')
        return [TimerAction(period=linger, actions=[end])]

    return Node(
        executable='camera',
        name='camera',
        remappings=camera_remappings(topic),
        on_exit=stop,
        **node_options(context, CAMERA_PARAMETERS, {}),
    )


def _rviz(context: LaunchContext, topic: str, in_space: bool) -> list[Action]:
    if shutil.which('rviz2') is None:
        get_logger('stmask').warning(
            'rviz:=true, but there is no rviz2 on the PATH: install it (ros-<distribution>-rviz2) '
            'or look at ~/overlay with another viewer')
        return []
    name = value_of(context, 'name', str)
    display = 'lifter.rviz' if in_space else 'stmask.rviz'
    return [Node(
        package='rviz2',
        executable='rviz2',
        namespace=LaunchConfiguration('namespace'),
        arguments=['--display-config', str(CONFIG / display)],
        remappings=[
            ('/image_raw', topic), ('/segmenter/overlay', f'{name}/overlay'),
            ('/lifter/markers', 'lifter/markers'), ('/lifter/points', 'lifter/points')],
    )]
