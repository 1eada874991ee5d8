# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Switch Fast DDS to a profile that carries whole camera images.

Without it a best-effort subscriber loses nearly every raw image above 512 KiB (640x360 in colour
is 675 KiB): see config/fastdds.xml.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path

from stmask_ros.resources import share_directory

# Fast DDS 3 (Kilted and later) reads the first and warns about the second; Fast DDS 2 (Jazzy and
# before) reads the second only.
_CURRENT_VARIABLE = 'FASTDDS_DEFAULT_PROFILES_FILE'
_OLD_VARIABLE = 'FASTRTPS_DEFAULT_PROFILES_FILE'
_DISTRIBUTIONS_WITH_OLD_VARIABLE = frozenset({'humble', 'iron', 'jazzy'})

_DEFAULT_PROFILE_NAME = 'DEFAULT_FASTDDS_PROFILES.xml'


@dataclass(frozen=True)
class TransportChoice:
    """
    What was decided about the transport.

    applied: whether this package's profile is now in force.
    text: one sentence for the log.
    """

    applied: bool
    text: str


def use_large_message_profile(
    environment: MutableMapping[str, str] = os.environ, distribution: str | None = None
) -> TransportChoice:
    """
    Point Fast DDS at this package's profile, unless the user has chosen something himself.

    Call it before rclpy.init(): the profile is read when the first participant is made.

    environment: variables to read and to change.
    distribution: name of the ROS distribution, such as 'jazzy'; found out if not given.
    """
    profile = share_directory() / 'config' / 'fastdds.xml'
    for variable in (_CURRENT_VARIABLE, _OLD_VARIABLE):
        if environment.get(variable) == str(profile):  # as a launch file has set it
            return TransportChoice(True, f'{variable}={profile}')
    reason = _reason_to_leave_it(environment)
    if reason:
        return TransportChoice(False, f'Fast DDS profile for large images not set: {reason}')
    old = (distribution or ros_distribution(environment)) in _DISTRIBUTIONS_WITH_OLD_VARIABLE
    variable = _OLD_VARIABLE if old else _CURRENT_VARIABLE
    environment[variable] = str(profile)
    return TransportChoice(True, f'{variable}={profile}')


def _reason_to_leave_it(environment: MutableMapping[str, str]) -> str | None:
    rmw = environment.get('RMW_IMPLEMENTATION', '')
    if rmw and 'fastrtps' not in rmw and 'fastdds' not in rmw:
        return f'RMW_IMPLEMENTATION is {rmw}'
    for variable in (_CURRENT_VARIABLE, _OLD_VARIABLE):
        if environment.get(variable):
            return f'{variable} is already {environment[variable]}'
    if Path(_DEFAULT_PROFILE_NAME).is_file():
        return f'Fast DDS reads {_DEFAULT_PROFILE_NAME} of the working directory'
    return None


def ros_distribution(environment: MutableMapping[str, str] = os.environ) -> str:
    """Return the name of the ROS distribution in lower case, or '' where it cannot be told."""
    named = environment.get('ROS_DISTRO', '')
    return named.lower() or _distribution_of_rclpy()


def _distribution_of_rclpy() -> str:
    """Tell the distribution of pip's wheels, which set no ROS_DISTRO, by the version of rclpy."""
    from importlib.metadata import PackageNotFoundError, version
    try:
        major = int(version('rclpy').split('.')[0])
    except (PackageNotFoundError, ValueError):
        return ''
    return 'jazzy' if major <= 7 else 'kilted'
