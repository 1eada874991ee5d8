# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What the launch files share: arguments that are left empty do not touch the parameter file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, List, TypeVar, cast  # noqa: UP035

import yaml
from launch.actions import DeclareLaunchArgument
from launch.events.process import ProcessExited
from launch.launch_context import LaunchContext
from launch.substitutions import LaunchConfiguration
from launch.utilities.type_utils import coerce_to_type
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from stmask_ros.ros import camera_names, image_transports

T = TypeVar('T')

# The arguments that set a parameter of the lifter of the same name.
LIFTER_PARAMETERS = {'fixed_frame': str, 'use_sim_time': bool}

# Launch knows this list of texts, and not list[str].
TEXTS = List[str]  # noqa: UP006

# The arguments that set a parameter of the segmenter of the same name.
SEGMENTER_PARAMETERS = {
    'image_transport': str,
    'model': str,
    'device': str,
    'score_threshold': float,
    'birth_threshold': float,
    'classes': TEXTS,
    'class_thresholds': TEXTS,
    'region': TEXTS,
    'ignore_mask': TEXTS,
    'crop': bool,
    'use_sim_time': bool,
}


def argument(
    name: str, description: str, default: str = '', choices: list[str] | None = None
) -> DeclareLaunchArgument:
    """Return the declaration of an argument; without a default it is empty."""
    return DeclareLaunchArgument(
        name, default_value=default, description=description, choices=choices)


def general_arguments(params_file: Path) -> list[DeclareLaunchArgument]:
    """Return the arguments that concern all nodes; params_file: what holds their parameters."""
    return [
        argument('namespace', 'Namespace of all nodes and of every relative topic name.'),
        argument(
            'params_file', 'YAML file with the parameters of all nodes.', str(params_file),
        ),
        argument('use_sim_time', 'Take the time from /clock: true or false.'),
        argument(
            'log_level', 'Least severity the nodes log.',
            'info', ['debug', 'info', 'warn', 'error', 'fatal'],
        ),
    ]


def segmenter_arguments() -> list[DeclareLaunchArgument]:
    """Return the arguments for the segmenter, whatever its cameras."""
    return [
        argument('name', 'Name of the segmenter node.', 'segmenter'),
        argument(
            'image_transport', 'What the segmenter subscribes to: raw, compressed, zstd, ffmpeg '
            'or foxglove images.',
        ),
        argument(
            'model', "Name of a model of this package, or the path of a model's .yaml file.",
        ),
        argument('device', 'Where the network runs: cpu, cuda, cuda:1 or auto.'),
        argument('score_threshold', 'Least score of a published instance, 0.0 to 1.0.'),
        argument('birth_threshold', 'Least score of a detection that starts a track, 0.0 to 1.0.'),
        argument('classes', "Classes to look for: one, or a list such as '[person, animal]'."),
        argument(
            'class_thresholds', "Least score of a class, such as 'person: 0.4', or a list.",
        ),
        argument(
            'region', "Where objects are, such as '0 0.2 1 1' (two corners, x y x y), or a list "
            "with one for each camera, such as '[\"front: 0 0.2 1 1\"]'.",
        ),
        argument('ignore_mask', 'PNG whose pixels that are not black never count, or a list.'),
        argument('crop', 'Show the network the region alone, larger: true or false.'),
    ]


def lifter_arguments(params_file: Path) -> list[DeclareLaunchArgument]:
    """Return the arguments for the lifter; params_file: what holds its parameters."""
    return [
        argument(
            'depth_topic', 'Topic of depth images; starts the lifter, which tells where things '
            'are in space. One that ends in /compressedDepth is taken as such. camera_info is '
            'looked for beside it.',
        ),
        argument(
            'points_topic', 'Topic of point clouds of a lidar or a depth camera, instead of '
            'depth_topic; starts the lifter.',
        ),
        argument(
            'fixed_frame', 'Frame of what the lifter says, such as odom. Empty: as in its '
            'parameter file.',
        ),
        argument(
            'lifter_params_file', 'YAML file with the parameters of the lifter.', str(params_file),
        ),
    ]


def lifter(
    context: LaunchContext, namespace: object, image_topic: str, instances_topic: str,
    topics: tuple[str | None, str | None],
) -> list[Node]:
    """
    Return the lifter, told to configure and activate itself; nothing without topics.

    namespace: of the node. topics: of depth images and of clouds, None for one that is not there.
    """
    depth, points = topics
    if depth and points:
        raise RuntimeError(
            f'depth_topic:={depth} points_topic:={points}: expected one of them, not both')
    if not (depth or points):
        return []
    source = (points or depth or '').removesuffix('/compressedDepth')
    kind = 'points' if points else 'depth' if source == depth else 'compressed_depth'
    options = node_options(
        context, LIFTER_PARAMETERS, {'autostart': True, 'input': kind}, 'lifter_params_file')
    return [Node(
        executable='lifter',
        name='lifter',
        remappings=[
            ('instances', instances_topic), ('points' if points else 'depth', source),
            ('camera_info', _beside(image_topic)), ('depth_camera_info', _beside(source))],
        on_exit=report_exit,
        **options | {'namespace': namespace},
    )]


def _beside(topic: str) -> str:
    """Return the topic of the camera_info that goes with images or depth."""
    parent, slash, _ = topic.rpartition('/')
    return f'{parent}{slash}camera_info'


def value_of(context: LaunchContext, name: str, value_type: type[T]) -> T | None:
    """Return the value of an argument, or None if it is empty; RuntimeError for a wrong one."""
    text = LaunchConfiguration(name).perform(context)
    if not text:
        return None
    if value_type == TEXTS:
        return cast(T, texts_of(text))
    try:
        value: T = coerce_to_type(text, value_type)
    except ValueError as error:
        raise RuntimeError(
            f'{name}:={text}: expected a value of type {value_type.__name__}') from error
    return value


def texts_of(text: str) -> list[str]:
    """Return the texts of a list such as '[a, b]'; a text that is none is the only one."""
    try:
        read = yaml.safe_load(text)
    except yaml.YAMLError:
        return [text]
    return [str(item) for item in read] or [''] if isinstance(read, list) else [text]


def base_topic(topic: str) -> str:
    """Return the topic of raw images as it is; RuntimeError for one of another transport."""
    base, _, transport = topic.rpartition('/')
    if base and transport in image_transports.NAMES[1:]:
        raise RuntimeError(
            f'image_topic:={topic}: expected the topic of the raw images; give '
            f'image_topic:={base} image_transport:={transport}')
    return topic


def camera_list(text: str) -> list[str]:
    """Return the names in a list of cameras; RuntimeError, before anything starts, if wrong."""
    names = [name.strip(' \'"') for name in text.strip(' []').split(',')]
    if problems := camera_names.problems_of(names):
        raise RuntimeError('; '.join(problems))
    return names


def camera_remappings(topic: str) -> list[tuple[str, str]]:
    """Return those of a camera node; camera_info goes beside the images, where others look."""
    parent, slash, _ = topic.rpartition('/')
    return [
        ('image_raw', topic),
        ('image_raw/compressed', topic + '/compressed'),
        ('camera_info', f'{parent}{slash}camera_info'),
    ]


def node_options(
    context: LaunchContext, types: Mapping[str, type], fixed: Mapping[str, object],
    params_file: str = 'params_file',
) -> dict[str, Any]:
    """
    Return what all nodes share: the parameter file and, over it, the arguments given.

    types: of the arguments that set a parameter of their name. fixed: other parameters.
    params_file: the argument that names the parameter file.
    """
    values = {name: value_of(context, name, value_type) for name, value_type in types.items()}
    overrides = dict(fixed) | {
        name: ParameterValue(value, value_type=types[name])
        for name, value in values.items() if value is not None
    }
    return {
        'package': 'stmask_ros',
        'namespace': LaunchConfiguration('namespace'),
        'parameters': [_parameter_file(context, params_file), overrides],
        'ros_arguments': ['--log-level', LaunchConfiguration('log_level')],
        'output': 'screen',
    }


def _parameter_file(context: LaunchContext, name: str) -> str:
    path = value_of(context, name, str)
    if path is None or not Path(path).is_file():
        raise RuntimeError(f'{name}:={path}: expected a YAML file, but there is none')
    return path


def report_exit(event: ProcessExited, context: LaunchContext) -> None:
    """End the launch with an error if a process ended by itself."""
    if not context.is_shutdown:
        raise RuntimeError(
            f'{event.process_name} ended with exit code {event.returncode}: its last lines above '
            'say why')
