# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Play a bag through the segmenter with the stamps it was recorded with, and stop at its end.

    ros2 launch stmask_ros replay.launch.py bag:=path/to/bag

The arguments of camera.launch.py hold here as well.
"""

from __future__ import annotations

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    SetLaunchConfiguration,
    Shutdown,
    TimerAction,
)
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import EqualsSubstitution, LaunchConfiguration
from launch_ros.actions import SetParameter
from launch_ros.ros_adapters import get_ros_node

from stmask_ros.bags import BagError, choose_image_topic

# The player advertises its topics and then waits as long [s], in which the segmenter finds them.
MATCHING = '3.0'

# A plain path, which --show-args can follow to list that file's arguments too.
CAMERA_LAUNCH_FILE = Path(__file__).resolve().parent / 'camera.launch.py'


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and what they start."""
    return LaunchDescription([
        DeclareLaunchArgument(
            'bag', description='The bag: its folder, or its .mcap or .db3 file.'),
        DeclareLaunchArgument(
            'player', default_value='camera', choices=['camera', 'rosbag2'],
            description='What reads the bag: the camera node of this package, or `ros2 bag play` '
            '(which needs rosbag2, and plays all topics).'),
        DeclareLaunchArgument(
            'bag_topic', default_value='',
            description='Image topic in the bag. Empty: one in colour before depth, infrared and '
            "a segmenter's pictures."),
        OpaqueFunction(function=_listen_to_bag),
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(str(CAMERA_LAUNCH_FILE)),
            launch_arguments={
                'camera': EqualsSubstitution(LaunchConfiguration('player'), 'camera'),
                'source': LaunchConfiguration('bag'),
                'bag_topic': LaunchConfiguration('bag_topic'),
                'stamps': 'source',
                'loop': 'false',
                'wait_for_subscribers': '1',
            }.items(),
        ),
        OpaqueFunction(function=_play),
    ])


def _listen_to_bag(context: LaunchContext) -> list[Action]:
    """Let the segmenter subscribe to the bag's own topic, if rosbag2 plays it."""
    if not _by_rosbag2(context):
        return []
    topic = _bag_topic(context)
    compressed = topic.endswith('/compressed')
    return [
        SetLaunchConfiguration('image_topic', topic.removesuffix('/compressed')),
        SetLaunchConfiguration('image_transport', 'compressed' if compressed else 'raw'),
        # The player sends the first images at once: none may be lost before it is counted.
        SetParameter(f'qos_overrides.{topic}.subscription.reliability', 'reliable'),
        SetParameter(f'qos_overrides.{topic}.subscription.depth', 10),
    ]


def _play(context: LaunchContext) -> list[Action]:
    """Start rosbag2 as soon as the segmenter listens, so that it hears the first image."""
    if not _by_rosbag2(context):
        return []
    listening = get_ros_node(context).get_subscriptions_info_by_topic(_bag_topic(context))
    segmenter = LaunchConfiguration('name').perform(context)
    if any(subscription.node_name == segmenter for subscription in listening):
        return [_bag_play(context)]
    return [TimerAction(period=0.2, actions=[OpaqueFunction(function=_play)])]


def _by_rosbag2(context: LaunchContext) -> bool:
    return LaunchConfiguration('player').perform(context) == 'rosbag2'


def _bag_topic(context: LaunchContext) -> str:
    """Return the topic of images that was asked for, or the one that the camera node takes."""
    bag = Path(LaunchConfiguration('bag').perform(context)).expanduser()
    try:
        chosen = choose_image_topic(bag, LaunchConfiguration('bag_topic').perform(context))
    except BagError as error:
        raise RuntimeError(str(error)) from error
    return chosen.topic


def _bag_play(context: LaunchContext) -> ExecuteProcess:
    sim_time = LaunchConfiguration('use_sim_time').perform(context).lower() == 'true'
    clock = ['--clock'] if sim_time else []
    return ExecuteProcess(
        cmd=['ros2', 'bag', 'play', LaunchConfiguration('bag'), '--delay', MATCHING, *clock],
        output='screen',
        on_exit=_end,
    )


def _end(event: ProcessExited, context: LaunchContext) -> list[Action] | None:
    if context.is_shutdown:
        return None
    if event.returncode != 0:
        raise RuntimeError(
            f'`ros2 bag play` ended with exit code {event.returncode}: its last lines above say '
            'why')
    end = Shutdown(reason='the bag has ended')
    return [TimerAction(period=LaunchConfiguration('linger'), actions=[end])]
