"""
Play a bag through the segmenter with the stamps it was recorded with, and stop at its end.

    ros2 launch stmask_ros replay.launch.py bag:=path/to/bag

The arguments of camera.launch.py hold here as well.
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    SetLaunchConfiguration,
    Shutdown,
    TimerAction,
)
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import EqualsSubstitution, LaunchConfiguration, ThisLaunchFileDir
from launch_ros.event_handlers import OnStateTransition


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and what they start."""
    return LaunchDescription([
        DeclareLaunchArgument(
            'bag', description='The bag: its folder, or its .mcap or .db3 file.'),
        DeclareLaunchArgument(
            'player', default_value='camera', choices=['camera', 'rosbag2'],
            description='What reads the bag: the camera node of this package, or `ros2 bag play` '
            '(which needs rosbag2, a bag_topic, and plays all topics).'),
        DeclareLaunchArgument(
            'bag_topic', default_value='',
            description='Image topic in the bag. Empty: the first image topic in it.'),
        OpaqueFunction(function=_rosbag2),
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource([ThisLaunchFileDir(), '/camera.launch.py']),
            launch_arguments={
                'camera': EqualsSubstitution(LaunchConfiguration('player'), 'camera'),
                'source': LaunchConfiguration('bag'),
                'bag_topic': LaunchConfiguration('bag_topic'),
                'stamps': 'source',
                'loop': 'false',
                'wait_for_subscribers': '1',
            }.items(),
        ),
    ])


def _rosbag2(context: LaunchContext) -> list[Action]:
    """Let the segmenter listen to the bag's topic, and play the bag once it is active."""
    if LaunchConfiguration('player').perform(context) != 'rosbag2':
        return []
    topic = LaunchConfiguration('bag_topic').perform(context)
    if not topic:
        raise RuntimeError('player:=rosbag2 needs bag_topic:=<image topic in the bag>')
    compressed = topic.endswith('/compressed')
    return [
        SetLaunchConfiguration('image_topic', topic.removesuffix('/compressed')),
        SetLaunchConfiguration('image_transport', 'compressed' if compressed else 'raw'),
        RegisterEventHandler(OnStateTransition(
            goal_state='active', entities=[_bag_play(context)], handle_once=True)),
    ]


def _bag_play(context: LaunchContext) -> ExecuteProcess:
    sim_time = context.launch_configurations.get('use_sim_time', '').lower() == 'true'
    clock = ['--clock'] if sim_time else []
    return ExecuteProcess(
        cmd=['ros2', 'bag', 'play', LaunchConfiguration('bag'), *clock],
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
