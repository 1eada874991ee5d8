# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The lifter's parameter file names every parameter with its default, and what it takes."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import yaml

from stmask_ros.lifter.parameters import LifterParameters
from stmask_ros.ros.parameter_rules import rule_of

FILE = Path(__file__).resolve().parents[2] / 'config' / 'lifter.yaml'


def test_the_file_holds_every_parameter_with_its_default():
    documented = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in
        yaml.safe_load(FILE.read_text())['/**/lifter']['ros__parameters'].items()
    }
    assert documented == dataclasses.asdict(LifterParameters())
    for name, value in documented.items():
        assert type(value) is type(getattr(LifterParameters(), name)), name


@pytest.mark.parametrize('field', dataclasses.fields(LifterParameters), ids=lambda f: f.name)
def test_the_file_tells_what_a_parameter_takes(field):
    block = re.search(rf'((?:^    #.*\n)+)    {field.name}:', FILE.read_text(), re.M)
    assert block, f'{field.name} has no comment'
    rule, comment = rule_of(field), re.sub(r'\s*#\s*', ' ', block[1])
    assert ('[fixed]' in comment) == rule.read_only
    assert all(choice in comment for choice in rule.choices)
    if rule.minimum is not None and rule.maximum is not None:
        assert f'{rule.minimum:g} to {rule.maximum:g}' in comment


@pytest.mark.parametrize(('values', 'text'), [
    ({'extrinsics': '1 2 3'}, 'expected seven numbers'),
    ({'extrinsics': 'a b c d e f g'}, 'expected seven numbers'),
    ({'extrinsics': '0 0 0 0 0 0 0'}, 'has length 0.000'),
    ({'slop': 2.0}, 'slop: 2.0 is outside 0.0 to 1.0'),
    ({'input': 'sonar'}, "input: 'sonar' is none of"),
])
def test_wrong_values_are_named(values, text):
    problems = dataclasses.replace(LifterParameters(), **values).problems()
    assert len(problems) == 1 and text in problems[0]


def test_values_reach_the_library():
    parameters = LifterParameters(
        erosion=5, gate=3.0, fixed_frame='odom', extrinsics='0 0 1 0 0 0 1')
    assert parameters.problems() == []
    assert parameters.sensor().erosion == 5
    assert parameters.motion().gate == 3.0
    geometry = parameters.geometry()
    assert geometry.fixed_frame == 'odom'
    assert geometry.extrinsics is not None and geometry.extrinsics.translation[2] == 1
