# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Camera images reach another process whole: best effort, 30 Hz, over real Fast DDS.

At Fast DDS's default settings most of the raw streams is lost (25 of 120 frames of 640x360 and
35 of 120 of 1920x1080 arrived); to see it, give image_traffic.py the word `default` at both ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stmask_ros.ros.transport import ros_distribution, use_large_message_profile

TRAFFIC = Path(__file__).with_name('image_traffic.py')
PROFILE_VARIABLES = ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE')
COUNT = 60


def start(*arguments: str) -> subprocess.Popen[str]:
    """Start one end of the stream, with no profile but the one it chooses itself."""
    environment = {name: value for name, value in os.environ.items()
                   if name not in PROFILE_VARIABLES}
    environment['PYTHONPATH'] = os.pathsep.join(path for path in sys.path if path)
    return subprocess.Popen(
        [sys.executable, str(TRAFFIC), *arguments], env=environment, text=True,
        stdout=subprocess.PIPE)


def count_arrivals(kind: str, width: int, height: int) -> int:
    """Send COUNT images from one new process to another; return how many arrived."""
    frames = (kind, str(width), str(height), str(COUNT))
    with start('receive', kind) as receiver, start('send', *frames) as sender:
        try:
            received, _ = receiver.communicate(timeout=90)
            assert sender.wait(timeout=30) == 0
        finally:
            receiver.kill()
            sender.kill()
    return int(received)


@pytest.mark.parametrize('kind', ['raw', 'compressed'])
@pytest.mark.parametrize(('width', 'height'), [(640, 360), (1920, 1080)])
def test_every_image_arrives(kind: str, width: int, height: int) -> None:
    # The shared memory holds a third of a second of the largest images. A receiver that a busy
    # machine does not run for longer than that loses some, through no fault of the transport:
    # hence three attempts. At the default settings none of them would succeed.
    arrivals: list[int] = []
    while COUNT not in arrivals and len(arrivals) < 3:
        arrivals.append(count_arrivals(kind, width, height))
    assert COUNT in arrivals, f'of {COUNT} images arrived, in three attempts: {arrivals}'


@pytest.mark.parametrize(('distribution', 'variable'), [
    ('jazzy', 'FASTRTPS_DEFAULT_PROFILES_FILE'),
    ('kilted', 'FASTDDS_DEFAULT_PROFILES_FILE'),
    ('lyrical', 'FASTDDS_DEFAULT_PROFILES_FILE'),
])
def test_each_distribution_gets_the_variable_that_it_reads(
    distribution: str, variable: str
) -> None:
    environment = {'ROS_DISTRO': distribution}
    assert use_large_message_profile(environment).applied
    assert Path(environment.pop(variable)).name == 'fastdds.xml'
    assert list(environment) == ['ROS_DISTRO']


@pytest.mark.parametrize('chosen', [
    {'FASTDDS_DEFAULT_PROFILES_FILE': '/mine.xml'},
    {'FASTRTPS_DEFAULT_PROFILES_FILE': '/mine.xml'},
    {'RMW_IMPLEMENTATION': 'rmw_zenoh_cpp'},
])
def test_what_the_user_has_chosen_is_left_alone(chosen: dict[str, str]) -> None:
    environment = dict(chosen)
    choice = use_large_message_profile(environment)
    assert not choice.applied
    assert next(iter(chosen.values())) in choice.text
    assert environment == chosen


def test_the_distribution_is_known_also_where_no_variable_names_it() -> None:
    assert ros_distribution({}) in ('jazzy', 'kilted')
