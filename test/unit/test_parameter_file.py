# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The parameter file names every parameter of both nodes, with its default."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import yaml

from stmask_ros.camera.parameters import CameraParameters
from stmask_ros.cli import build_parser
from stmask_ros.node.parameters import Parameters
from stmask_ros.ros.parameter_rules import rule_of

FILE = Path(__file__).resolve().parent.parent.parent / 'config' / 'stmask.yaml'


@pytest.mark.parametrize(
    ('section', 'parameters'), [('/**', Parameters), ('/**/camera', CameraParameters)])
def test_the_file_holds_every_parameter_with_its_default(section, parameters):
    documented = {  # no texts are [] or, so that the list can be set to others, ['']
        name: tuple(filter(None, value)) if isinstance(value, list) else value
        for name, value in yaml.safe_load(FILE.read_text())[section]['ros__parameters'].items()
    }
    assert documented == dataclasses.asdict(parameters())
    for name, value in documented.items():
        assert type(value) is type(getattr(parameters(), name)), name


def comment_above(name: str) -> str:
    """Return the comment above the first parameter of this name, as one line."""
    block = re.search(rf'((?:^    #.*\n)+)(?:    \w+:.*\n)?    {name}:', FILE.read_text(), re.M)
    assert block, f'{name} has no comment'
    return re.sub(r'\s*#\s*', ' ', block[1])


def in_words(between: tuple[float, float]) -> str:
    return f'{between[0]:g} to {between[1]:g}'


@pytest.mark.parametrize('field', dataclasses.fields(Parameters), ids=lambda field: field.name)
def test_the_file_tells_what_a_segmenter_parameter_takes(field):
    rule, comment = rule_of(field), comment_above(field.name)
    assert ('[fixed]' in comment) == rule.read_only
    assert all(choice in comment for choice in rule.choices)
    if rule.minimum is not None and rule.maximum is not None:
        assert in_words((rule.minimum, rule.maximum)) in comment


@pytest.mark.parametrize(
    'field', dataclasses.fields(CameraParameters), ids=lambda field: field.name)
def test_the_file_tells_what_a_camera_parameter_takes(field):
    comment, between = comment_above(field.name), field.metadata['between']
    if between:
        assert in_words(between) in comment


@pytest.mark.parametrize('arguments', [['demo'], ['bag', 'annotate', 'bag', 'out']], ids=' '.join)
def test_commands_that_do_as_the_node_does_have_its_defaults(arguments):
    options, node = vars(build_parser().parse_args(arguments)), dataclasses.asdict(Parameters())
    shared = {'model', 'device', 'birth_threshold'}
    if 'annotate' in arguments:
        shared |= {'precision', 'engine', 'score_threshold', 'retirement', 'max_gap'}
        assert options['max_missed'] is Parameters().tracker(()).max_missed is None
    assert {name: options[name] for name in shared} == {name: node[name] for name in shared}
