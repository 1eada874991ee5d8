# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The rooms of the package depend on each other one way only, and ROS stays in a few of them."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / 'stmask_ros'
MODULES = sorted(PACKAGE.rglob('*.py'))

# From the ground up: a room may import the rooms before it, and itself.
FLOORS = (
    'installation', 'resources', 'memory', 'names', 'fingerprint', 'output_files',
    'run_lengths', 'masks', 'layers', 'images', 'bags', 'families', 'models', 'engines',
    'tracking', 'lifting', 'views', 'sources', 'evaluation', 'labelling', 'training', 'teaching',
    'ros', 'camera', 'node', 'lifter', 'commands', 'cli',
)

# The rooms that may import ROS when they are loaded; commands do so when they are run.
WITH_ROS = ('camera', 'lifter', 'node', 'ros')

# Commands that are themselves imported when they are called.
THAT_RUN_NODES = ('stmask_ros.commands.bag_annotate', 'stmask_ros.commands.bag_lift',
                  'stmask_ros.commands.demo',
                  'stmask_ros.commands.demo_depth', 'stmask_ros.commands.demo_processes')

# The folders of the families, and which of them is built on which.
NETWORKS = {path.parent.name for path in (PACKAGE / 'families').glob('*/__init__.py')}
BUILT_ON = {'sgnet': 'sipmask'}
NETWORK_NAME = re.compile('STMask|SipMask|SGNet|SG_Net|MSTS|SeqFormer|msts|sipmask|sgnet')
THAT_NAME_NETWORKS = ('stmask_ros.families.all', 'stmask_ros.moved_modules')

ROS = ('ament_index_python', 'builtin_interfaces', 'cv_bridge', 'launch', 'launch_ros', 'rclpy',
       'rosidl_runtime_py', 'std_srvs', 'stmask_ros.msg', 'tf2_ros')


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield the full name of every module and of every name imported from one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, 'relative imports hide what is imported'
            yield from (f'{node.module}.{alias.name}' for alias in node.names)


def is_of(name: str, module: str) -> bool:
    return name == module or name.startswith(module + '.')


def is_ros(name: str) -> bool:
    return any(is_of(name, module) for module in ROS) or name.split('.')[0].endswith('_msgs')


def floor(name: str) -> int | None:
    """Return the floor of a module by its full name; None outside the house."""
    rooms = [i for i, room in enumerate(FLOORS) if is_of(name, f'stmask_ros.{room}')]
    return min(rooms, default=None)


def full_name(module: Path) -> str:
    return '.'.join(module.relative_to(PACKAGE.parent).with_suffix('').parts)


def identify(module: Path) -> str:
    return str(module.relative_to(PACKAGE))


@pytest.mark.parametrize('module', MODULES, ids=identify)
def test_imports_point_down(module: Path) -> None:
    own = floor(full_name(module))
    if own is None or module.name == '__main__.py':
        return
    above = [name for name in imports(ast.parse(module.read_text()))
             if (other := floor(name)) is not None and other > own]
    assert not above, f'{full_name(module)} imports from the floors above: {above}'


def network_of(name: str) -> str | None:
    """Return the family's folder that a module lies in, by its full name; None outside."""
    parts = name.split('.')
    is_inside = parts[:2] == ['stmask_ros', 'families'] and len(parts) > 2
    return parts[2] if is_inside and parts[2] in NETWORKS else None


@pytest.mark.parametrize('module', MODULES, ids=identify)
def test_only_the_list_of_families_knows_a_network(module: Path) -> None:
    """All others see a family through families/family.py; one network may be built on another."""
    name = full_name(module)
    if name == 'stmask_ros.families.all':
        return
    own = network_of(name)
    allowed = {None, own, BUILT_ON.get(own or '')}
    foreign = [each for each in imports(ast.parse(module.read_text()))
               if network_of(each) not in allowed]
    assert not foreign, f'{name} imports from a network: {foreign}'


@pytest.mark.parametrize('module', MODULES, ids=identify)
def test_the_common_rooms_name_no_network(module: Path) -> None:
    name = full_name(module)
    if network_of(f'{name}.') is not None or name in THAT_NAME_NETWORKS:
        return
    tokens = tokenize.generate_tokens(io.StringIO(module.read_text()).readline)
    assert not [token.string for token in tokens
                if token.type == tokenize.NAME and NETWORK_NAME.search(token.string)]


def test_every_network_is_in_the_list() -> None:
    text = (PACKAGE / 'families' / 'all.py').read_text()
    listed = {network_of(name) for name in imports(ast.parse(text))} - {None}
    assert listed == NETWORKS


def test_every_room_has_its_floor() -> None:
    outside = {full_name(module) for module in MODULES if floor(full_name(module)) is None}
    assert outside == {'stmask_ros.__init__', 'stmask_ros.moved_modules'}


def imports_at_start(module: Path) -> Iterator[str]:
    """Yield what is imported when the module is, that is, outside its functions."""
    for statement in ast.parse(module.read_text()).body:
        if not isinstance(statement, ast.FunctionDef | ast.ClassDef):
            yield from imports(statement)


def has_ros(module: Path) -> bool:
    return any(is_of(full_name(module), f'stmask_ros.{room}') for room in WITH_ROS)


@pytest.mark.parametrize('module', [m for m in MODULES if not has_ros(m)], ids=identify)
def test_nothing_else_needs_ros_to_be_imported(module: Path) -> None:
    # `stmask` works without ROS: what runs nodes is imported when it is called.
    names = list(imports_at_start(module))
    if full_name(module) in THAT_RUN_NODES:
        return
    assert not [name for name in names if is_ros(name)]
    assert not [name for name in names for room in WITH_ROS if is_of(name, f'stmask_ros.{room}')]


def test_the_rules_catch_what_they_are_for() -> None:
    source = 'import rclpy.node\nfrom sensor_msgs.msg import Image\nfrom stmask_ros import msg\n'
    assert all(is_ros(name) for name in imports(ast.parse(source)))
    assert not is_ros('stmask_ros.tracking.results.FrameResult')
    lower, upper = floor('stmask_ros.layers.boxes'), floor('stmask_ros.node.segmenter')
    assert lower is not None and upper is not None and lower < upper
