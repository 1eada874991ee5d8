# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Start one segmenter for several cameras, and a camera node for each if there are no others.

The built-in clip twice, two webcams, and camera drivers that run already:

    ros2 launch stmask_ros multi_camera.launch.py
    ros2 launch stmask_ros multi_camera.launch.py cameras:=left,right source:=device:{index}
    ros2 launch stmask_ros multi_camera.launch.py cameras:=left,right image_topic:=/{camera}/image

With depth of each, a lifter for each camera comes up too, such as /front/lifter:

    ros2 launch stmask_ros multi_camera.launch.py depth_topic:=/{camera}/depth/image

The answers come on /segmenter/front/instances and so on. An argument that is left empty does not
touch the value in the parameter file. A camera that ends leaves the others running.
"""

from __future__ import annotations

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.logging import get_logger
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from stmask_ros.ros.launching import (
    SEGMENTER_PARAMETERS,
    argument,
    base_topic,
    camera_list,
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
    'rate': float,
    'loop': bool,
    'use_sim_time': bool,
}
LIFTED_TOPICS = ('depth_topic', 'points_topic')
BATCH_PARAMETERS = {'max_batch': int, 'batch_wait': float}


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and what they start."""
    return LaunchDescription([
        *general_arguments(CONFIG / 'stmask.yaml'),
        *_camera_arguments(),
        *segmenter_arguments(),
        *lifter_arguments(CONFIG / 'lifter.yaml'),
        argument('max_batch', 'Most images in one step. 0: all on a GPU, one on a CPU.'),
        argument('batch_wait', 'Longest time an image waits for other cameras [s].'),
        OpaqueFunction(function=_start),
    ])


def _camera_arguments() -> list[DeclareLaunchArgument]:
    return [
        argument(
            'cameras', 'Names of the cameras, separated by commas: letters, digits, underscores.',
            'front,rear',
        ),
        argument(
            'image_topic', 'Topic of the raw images of each camera, with {camera} or {index} in '
            'it; compressed ones come from <topic>/compressed. Empty: {camera}/image_raw of the '
            'camera nodes.',
        ),
        argument(
            'camera', 'Start a camera node for each camera: true or false. Empty: only if no '
            'image_topic is given.',
        ),
        argument(
            'source', "What each camera node plays; {camera} stands for the camera's name, "
            '{index} for its number from 0. Empty: as in params_file, which plays the built-in '
            'clip.',
        ),
        argument('rate', "Images a second. 0.0: the source's own rate."),
        argument('loop', 'Play the sources over and over: true or false.'),
    ]


def _start(context: LaunchContext) -> list[Action]:
    """Return the actions that the values of the arguments ask for."""
    names = camera_list(value_of(context, 'cameras', str) or '')
    given_topic = value_of(context, 'image_topic', str)
    pattern = base_topic(given_topic or '{camera}/image_raw')
    topics = {
        name: _absolute(context, _filled(pattern, name, index))
        for index, name in enumerate(names)
    }
    if len(set(topics.values())) < len(names):
        raise RuntimeError(
            f'cameras:={",".join(names)} image_topic:={pattern}: expected another topic for each '
            'camera; write {camera} where its name belongs')
    camera = value_of(context, 'camera', bool)
    if camera is None:
        camera = given_topic is None
    get_logger('stmask').info(use_large_message_profile(context.environment).text)
    actions: list[Action] = [_segmenter(context, topics)]
    if camera:
        actions += [
            _camera(context, name, index, topic)
            for index, (name, topic) in enumerate(topics.items())
        ]
    for index, (name, topic) in enumerate(topics.items()):
        actions += _lifter(context, name, index, topic)
    return actions


def _lifter(context: LaunchContext, name: str, index: int, topic: str) -> list[Node]:
    """Return the lifter of a camera, called <name>/lifter, if topics of depth were given."""
    depth, points = (
        given and _absolute(context, _filled(given, name, index))
        for given in (value_of(context, topics, str) for topics in LIFTED_TOPICS))
    segmenter = value_of(context, 'name', str)
    return lifter(
        context, _absolute(context, name), topic,
        _absolute(context, f'{segmenter}/{name}/instances'), (depth, points))


def _filled(pattern: str, name: str, index: int) -> str:
    return pattern.replace('{camera}', name).replace('{index}', str(index))


def _absolute(context: LaunchContext, topic: str) -> str:
    """Return the full name: the nodes are in different namespaces."""
    if topic.startswith('/'):
        return topic
    namespace = LaunchConfiguration('namespace').perform(context).strip('/')
    return f'/{namespace}/{topic}' if namespace else f'/{topic}'


def _segmenter(context: LaunchContext, topics: dict[str, str]) -> Node:
    """Return the segmenter, told to configure and activate itself; it ends if that fails."""
    fixed = {'autostart': True, 'cameras': list(topics)}
    return Node(
        executable='segmenter',
        name=LaunchConfiguration('name'),
        remappings=[(f'{name}/image', topic) for name, topic in topics.items()],
        on_exit=report_exit,
        **node_options(context, BATCH_PARAMETERS | SEGMENTER_PARAMETERS, fixed),
    )


def _camera(context: LaunchContext, name: str, index: int, topic: str) -> Node:
    """Return a camera node, called <name>/camera; its end is the end of nothing else."""
    source = value_of(context, 'source', str)
    fixed = {'frame_id': name}
    if source is not None:
        fixed['source'] = _filled(source, name, index)
    options = node_options(context, CAMERA_PARAMETERS, fixed)
    return Node(
        executable='camera',
        name='camera',
        remappings=camera_remappings(topic),
        **options | {'namespace': _absolute(context, name)},
    )
