# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What a node says to `--help`, which ROS itself knows nothing of."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Described(NamedTuple):
    """A parameter as the help shows it."""

    name: str
    default: object
    description: str


def is_asked_for(arguments: Sequence[str] | None) -> bool:
    """Return whether help is asked for; arguments: of the command line, None for this process."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    own = words[:words.index('--ros-args')] if '--ros-args' in words else words
    return '--help' in own or '-h' in own


def show(name: str, purpose: str, example: str, parameters: Iterable[Described]) -> None:
    """Write how the node is started, and its parameters with their defaults."""
    lines = [f'{purpose}', '', 'usage:', f'  ros2 run stmask_ros {name} --ros-args {example}', '',
             'parameters (-p NAME:=VALUE, or --params-file FILE):']
    for item in parameters:
        lines += [f'  {item.name}: {_text(item.default)}', f'      {item.description}']
    sys.stdout.write('\n'.join(lines) + '\n')


def _text(default: object) -> str:
    if default == () or default == '':
        return "''" if default == '' else '[]'
    return str(default).lower() if isinstance(default, bool) else str(default)
