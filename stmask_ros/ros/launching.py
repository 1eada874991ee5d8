"""What the launch files share: arguments that are left empty do not touch the parameter file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from launch.actions import DeclareLaunchArgument
from launch.events.process import ProcessExited
from launch.launch_context import LaunchContext
from launch.substitutions import LaunchConfiguration
from launch.utilities.type_utils import coerce_to_type
from launch_ros.parameter_descriptions import ParameterValue

T = TypeVar('T')

# The arguments that set a parameter of the segmenter of the same name.
SEGMENTER_PARAMETERS = {
    'image_transport': str,
    'model': str,
    'device': str,
    'score_threshold': float,
    'birth_threshold': float,
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
            'image_transport', 'What the segmenter subscribes to: raw or compressed images.',
            '', ['', 'raw', 'compressed'],
        ),
        argument(
            'model', "Name of a model of this package, or the path of a model's .yaml file.",
        ),
        argument('device', 'Where the network runs: cpu, cuda, cuda:1 or auto.'),
        argument('score_threshold', 'Least score of a published instance, 0.0 to 1.0.'),
        argument('birth_threshold', 'Least score of a detection that starts a track, 0.0 to 1.0.'),
    ]


def value_of(context: LaunchContext, name: str, value_type: type[T]) -> T | None:
    """Return the value of an argument, or None if it is empty; RuntimeError for a wrong one."""
    text = LaunchConfiguration(name).perform(context)
    if not text:
        return None
    try:
        value: T = coerce_to_type(text, value_type)
    except ValueError as error:
        raise RuntimeError(
            f'{name}:={text}: expected a value of type {value_type.__name__}') from error
    return value


def base_topic(topic: str) -> str:
    """Return the topic of raw images as it is; RuntimeError for one of compressed images."""
    if topic.endswith('/compressed'):
        raise RuntimeError(
            f'image_topic:={topic}: expected the topic of the raw images; give '
            f"image_topic:={topic.removesuffix('/compressed')} image_transport:=compressed")
    return topic


def camera_remappings(topic: str) -> list[tuple[str, str]]:
    """Return those of a camera node; camera_info goes beside the images, where others look."""
    parent, slash, _ = topic.rpartition('/')
    return [
        ('image_raw', topic),
        ('image_raw/compressed', topic + '/compressed'),
        ('camera_info', f'{parent}{slash}camera_info'),
    ]


def node_options(
    context: LaunchContext, types: Mapping[str, type], fixed: Mapping[str, object]
) -> dict[str, Any]:
    """
    Return what all nodes share: the parameter file and, over it, the arguments given.

    types: of the arguments that set a parameter of their name. fixed: other parameters.
    """
    values = {name: value_of(context, name, value_type) for name, value_type in types.items()}
    overrides = dict(fixed) | {
        name: ParameterValue(value, value_type=types[name])
        for name, value in values.items() if value is not None
    }
    return {
        'package': 'stmask_ros',
        'namespace': LaunchConfiguration('namespace'),
        'parameters': [_parameter_file(context), overrides],
        'ros_arguments': ['--log-level', LaunchConfiguration('log_level')],
        'output': 'screen',
    }


def _parameter_file(context: LaunchContext) -> str:
    path = value_of(context, 'params_file', str)
    if path is None or not Path(path).is_file():
        raise RuntimeError(f'params_file:={path}: expected a YAML file, but there is none')
    return path


def report_exit(event: ProcessExited, context: LaunchContext) -> None:
    """End the launch with an error if a process ended by itself."""
    if not context.is_shutdown:
        raise RuntimeError(
            f'{event.process_name} ended with exit code {event.returncode}: its last lines above '
            'say why')
