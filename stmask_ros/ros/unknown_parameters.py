# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Parameters that were given a node and that it does not have, most often misspelt."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

import yaml
from rclpy.node import Node

from stmask_ros.resources import share_directory

# These name topics, and are read when a topic is made.
_QUALITY_OF_SERVICE = 'qos_overrides.'
_ENDS = ('publisher', 'subscription')


def warn_of_unknown_parameters(node: Node) -> None:
    """
    Warn of every value given for a parameter that the node does not have, with the nearest name.

    Call it when all are declared. A file for several nodes may hold what another of this
    package's nodes has: that is no mistake.
    """
    given: Iterable[str] = node._parameter_overrides  # rclpy has no public name for them
    own = [name for name in node._parameters if not name.startswith(_QUALITY_OF_SERVICE)]
    for name in sorted(set(given) - set(own) - _of_other_nodes()):
        if not name.startswith(_QUALITY_OF_SERVICE):
            node.get_logger().warning(unknown(name, own))


def warn_of_unknown_qualities(node: Node) -> None:
    """
    Warn of every override of a quality of service that no topic of the node has.

    Call it when all topics are made. What concerns the other end of one of its topics, in a file
    for several nodes, is no mistake.
    """
    given: Iterable[str] = node._parameter_overrides
    own = [name for name in node._parameters if name.startswith(_QUALITY_OF_SERVICE)]
    of_both_ends = {
        f'{topic}.{end}.{policy}' for topic, _, policy in (name.rsplit('.', 2) for name in own)
        for end in _ENDS
    }
    for name in sorted(set(given) - of_both_ends):
        if name.startswith(_QUALITY_OF_SERVICE):
            node.get_logger().warning(unknown(name, own))


def unknown(name: str, known: Iterable[str]) -> str:
    """Return the sentence about a parameter that does not exist."""
    near = difflib.get_close_matches(name, known, 1)
    hint = f'did you mean {near[0]}?' if near else '`ros2 param list` names all'
    return f"there is no parameter '{name}', its value is not used: {hint}"


def _of_other_nodes() -> set[str]:
    """Return the names of all parameters in the files that this package ships."""
    files = (share_directory() / 'config').glob('*.yaml')
    sections: list[dict[str, Any]] = [
        section for file in files for section in yaml.safe_load(file.read_text()).values()]
    return {name for section in sections for name in section['ros__parameters']}
