"""The parts depend on each other one way only: node -> tracking -> network, and ROS in node."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / 'stmask_ros'
MODULES = sorted(PACKAGE.rglob('*.py'))

# The demonstration runs nodes and records their topics; `stmask demo` imports it when called.
OUTSIDE_ROS = [module for module in MODULES
               if module.relative_to(PACKAGE).parts[0] not in ('node', 'demo', 'demo.py')]

ROS = ('ament_index_python', 'builtin_interfaces', 'cv_bridge', 'launch', 'launch_ros', 'rclpy',
       'rosidl_runtime_py', 'std_srvs', 'stmask_ros.msg')

# What the modules of a folder may not import.
FORBIDDEN = {
    'network': ('stmask_ros.tracking', 'stmask_ros.evaluation', 'stmask_ros.training',
                'stmask_ros.node'),
    'tracking': ('stmask_ros.evaluation', 'stmask_ros.training', 'stmask_ros.node'),
    'evaluation': ('stmask_ros.training',),
    'training': ('stmask_ros.node',),
    'node': ('stmask_ros.training',),
}


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


def folder(module: Path) -> str:
    """Return the folder of the package that the module is in; '' for the package's own."""
    parts = module.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ''


def identify(module: Path) -> str:
    return str(module.relative_to(PACKAGE))


@pytest.mark.parametrize('module', MODULES, ids=identify)
def test_imports_point_one_way(module: Path) -> None:
    forbidden = FORBIDDEN.get(folder(module), ())
    names = set(imports(ast.parse(module.read_text())))
    assert not [name for name in names if any(is_of(name, other) for other in forbidden)]


@pytest.mark.parametrize('module', OUTSIDE_ROS, ids=identify)
def test_nothing_outside_node_imports_ros(module: Path) -> None:
    assert not [name for name in imports(ast.parse(module.read_text())) if is_ros(name)]


def imports_at_start(module: Path) -> Iterator[str]:
    """Yield what is imported when the module is, that is, outside its functions."""
    for statement in ast.parse(module.read_text()).body:
        if not isinstance(statement, ast.FunctionDef | ast.ClassDef):
            yield from imports(statement)


@pytest.mark.parametrize('module', OUTSIDE_ROS, ids=identify)
def test_nothing_outside_node_needs_the_nodes_to_be_imported(module: Path) -> None:
    # Subcommands that run nodes import them when they are called: `stmask` works without ROS.
    assert not [name for name in imports_at_start(module) if is_of(name, 'stmask_ros.node')
                or is_of(name, 'stmask_ros.demo')]


def test_the_rules_catch_what_they_are_for() -> None:
    source = 'import rclpy.node\nfrom sensor_msgs.msg import Image\nfrom stmask_ros import msg\n'
    assert all(is_ros(name) for name in imports(ast.parse(source)))
    assert not is_ros('stmask_ros.tracking.results.FrameResult')
