# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What can be known about the launch files without launch, which ROS wheels do not include."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
LAUNCH_FILES = sorted((ROOT / 'launch').glob('*.launch.py'))
CAMERA = ROOT / 'launch' / 'camera.launch.py'
SEVERAL = ROOT / 'launch' / 'multi_camera.launch.py'
SHARED = ROOT / 'stmask_ros' / 'ros' / 'launching.py'
DECLARERS = ('DeclareLaunchArgument', 'argument')


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def arguments_of(path: Path) -> Iterator[tuple[str, ast.expr | None]]:
    """Return the name of each argument that a launch file declares, and its description."""
    for call in ast.walk(tree_of(path)):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
            continue
        if call.func.id == 'general_arguments':  # all that share these share all of that module
            yield from arguments_of(SHARED)
        if call.func.id in DECLARERS and isinstance(call.args[0], ast.Constant):
            by_keyword = [item.value for item in call.keywords if item.arg == 'description']
            yield call.args[0].value, [*by_keyword, *call.args[1:], None][0]


def dictionary(path: Path, name: str) -> list[str]:
    """Return the keys of a dictionary written down at the top of a launch file."""
    for statement in tree_of(path).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == name:
            assert isinstance(statement.value, ast.Dict)
            return [ast.literal_eval(key) for key in statement.value.keys if key]
    raise AssertionError(f'{path.name} has no {name}')


def test_the_launch_files_of_the_package_are_found():
    names = {path.name for path in LAUNCH_FILES}
    assert names >= {'camera.launch.py', 'multi_camera.launch.py', 'replay.launch.py'}


@pytest.mark.parametrize('path', LAUNCH_FILES, ids=lambda path: path.name)
def test_every_argument_is_described_and_declared_once(path):
    arguments = list(arguments_of(path))
    names = [name for name, _ in arguments]
    assert names
    assert len(set(names)) == len(names)
    for name, description in arguments:
        assert isinstance(description, ast.Constant), f'{name} has no description'
        assert len(description.value) > 10, f'{name} has no description worth the name'


@pytest.mark.parametrize(('path', 'name', 'users'), [
    (CAMERA, 'CAMERA_PARAMETERS', [CAMERA]),
    (SEVERAL, 'CAMERA_PARAMETERS', [SEVERAL]),
    (SEVERAL, 'BATCH_PARAMETERS', [SEVERAL]),
    (SHARED, 'SEGMENTER_PARAMETERS', [CAMERA, SEVERAL]),
    (SHARED, 'LIFTER_PARAMETERS', [CAMERA, SEVERAL]),
])
def test_every_argument_passed_on_is_a_parameter_of_the_package(path, name, users):
    file = 'lifter.yaml' if name == 'LIFTER_PARAMETERS' else 'stmask.yaml'
    documented = yaml.safe_load((ROOT / 'config' / file).read_text())
    known = {key for node in documented.values() for key in node['ros__parameters']}
    passed_on = dictionary(path, name)
    assert passed_on
    assert set(passed_on) <= known | {'use_sim_time'}
    for user in users:
        assert set(passed_on) <= {argument for argument, _ in arguments_of(user)}


def test_replay_passes_only_arguments_that_the_camera_launch_file_has():
    includes = [
        item.value for item in ast.walk(tree_of(ROOT / 'launch' / 'replay.launch.py'))
        if isinstance(item, ast.keyword) and item.arg == 'launch_arguments'
    ]
    keys = {ast.literal_eval(key) for include in includes for table in ast.walk(include)
            if isinstance(table, ast.Dict) for key in table.keys if key}
    assert keys
    declared = {name for name, _ in arguments_of(ROOT / 'launch' / 'camera.launch.py')}
    assert keys <= declared


@pytest.mark.parametrize(('file', 'topics'), [
    ('stmask.rviz', ['/segmenter/overlay', '/image_raw']),
    ('lifter.rviz', ['/segmenter/overlay', '/image_raw', '/lifter/markers', '/lifter/points']),
])
def test_rviz_shows_the_topics_that_the_launch_file_remaps(file, topics):
    display = yaml.safe_load((ROOT / 'config' / file).read_text())
    shown = [item['Topic']['Value'] for item in display['Visualization Manager']['Displays']
             if 'Topic' in item]
    source = (ROOT / 'launch' / 'camera.launch.py').read_text()
    assert shown == topics
    assert all(f"('{topic}', " in source for topic in shown)


def test_the_layout_of_foxglove_shows_topics_of_the_nodes():
    text = (ROOT / 'config' / 'foxglove.json').read_text()
    assert json.loads(text)['version'] == 1
    shown = set(re.findall(r'"(/[a-z_/]+)"', text)) - {'/diagnostics'}
    policy = (ROOT / 'config' / 'sros2_policy.xml').read_text()
    assert '/segmenter/annotations' in shown
    for topic in shown:
        own = topic.replace('/segmenter/', '~/').removeprefix('/')
        assert f'<topic>{own}</topic>' in policy, topic
