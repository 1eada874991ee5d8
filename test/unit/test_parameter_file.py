"""The parameter file names every parameter of both nodes, with its default."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from stmask_ros.node.camera_parameters import CameraParameters
from stmask_ros.node.parameters import Parameters

FILE = Path(__file__).resolve().parent.parent.parent / 'config' / 'stmask.yaml'


@pytest.mark.parametrize(
    ('section', 'parameters'), [('/**', Parameters), ('/**/camera', CameraParameters)])
def test_the_file_holds_every_parameter_with_its_default(section, parameters):
    documented = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in yaml.safe_load(FILE.read_text())[section]['ros__parameters'].items()
    }
    assert documented == dataclasses.asdict(parameters())
    for name, value in documented.items():
        assert type(value) is type(getattr(parameters(), name)), name
