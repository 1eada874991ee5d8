# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What nodes and launch files check before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from stmask_ros.resources import share_directory
from stmask_ros.ros.camera_names import problems_of
from stmask_ros.ros.transport import use_large_message_profile

camera_info = pytest.importorskip('stmask_ros.camera.camera_info', reason='needs ROS 2')

CALIBRATION = """
image_width: 640
image_height: 480
camera_name: c
camera_matrix: {rows: 3, cols: 3, data: [500., 0, 320, 0, 500, 240, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0.1, 0, 0, 0, 0]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [500, 0, 320, 0, 0, 500, 240, 0, 0, 0, 1, 0]}
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return ROS_HOME, in which there is a calibration, and which a package shares too."""
    share = tmp_path / 'share'
    (share / 'ament_index/resource_index/packages').mkdir(parents=True)
    (share / 'ament_index/resource_index/packages/my_robot').touch()
    (share / 'my_robot/config').mkdir(parents=True)
    (share / 'my_robot/config/left.yaml').write_text(CALIBRATION)
    (tmp_path / 'with space.yaml').write_text(CALIBRATION)
    monkeypatch.setenv('ROS_HOME', str(tmp_path))
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize('url', [
    'with space.yaml', 'file://{home}/with space.yaml', 'file://${ROS_HOME}/with space.yaml',
    '${ROS_HOME}/with space.yaml', 'package://my_robot/config/left.yaml',
    'package://my_robot/config/${NAME}.yaml',
])
def test_calibrations_are_found_where_people_keep_them(home: Path, url: str) -> None:
    info = camera_info.load_camera_info(url.replace('{home}', str(home)), 'left')
    assert (info.width, info.height, info.k[0]) == (640, 480, 500)


@pytest.mark.parametrize('url', [
    'package://nobody/a.yaml', 'http://example.org/a.yaml', 'package://../a.yaml', 'missing.yaml',
])
def test_a_calibration_that_is_not_there_is_refused(home: Path, url: str) -> None:
    with pytest.raises(camera_info.CalibrationError, match='camera_info_url'):
        camera_info.load_camera_info(url)


def test_without_a_distortion_model_it_is_plumb_bob(home: Path) -> None:
    (home / 'old.yaml').write_text(CALIBRATION.replace('distortion_model: plumb_bob', ''))
    assert camera_info.load_camera_info('old.yaml').distortion_model == 'plumb_bob'


@pytest.mark.parametrize(('old', 'new'), [
    ('image_width: 640', 'image_width: -640'), ('image_width: 640', 'image_width: 0'),
    ('image_width: 640', 'image_width: 6.5'), ('image_width: 640', 'image_width: wide'),
    ('image_width: 640', 'image_width: .inf'), ('image_width: 640', 'image_width: true'),
    ('image_height: 480', ''), ('image_height: 480', 'image_height: 99999999'),
    ('500., 0, 320', '.nan, 0, 320'), ('0.1, 0, 0, 0, 0', '.inf, 0, 0, 0, 0'),
    ('[500., 0, 320, 0, 500, 240, 0, 0, 1]', '[500.]'), (CALIBRATION, '[]'), (CALIBRATION, ''),
    (CALIBRATION, '[image]\n\nwidth\n640'),
])
def test_nonsense_is_refused(home: Path, old: str, new: str) -> None:
    (home / 'wrong.yaml').write_text(CALIBRATION.replace(old, new))
    with pytest.raises(camera_info.CalibrationError, match=r'wrong\.yaml'):
        camera_info.load_camera_info('wrong.yaml')


@pytest.mark.parametrize('name', ['1a', '', 'a-b', 'a b', '_a', 'left/right', 'ä'])
def test_a_name_that_no_topic_can_have_is_told(name: str) -> None:
    assert 'is no name: use letters' in problems_of(['front', name])[0]


def test_a_name_that_comes_twice_is_told() -> None:
    assert problems_of(['left', 'left']) == ['cameras: a name comes twice in left, left']
    assert problems_of(['left', 'right']) == []


def test_a_profile_that_a_launch_file_has_set_is_in_force() -> None:
    environment: dict[str, str] = {}
    first = use_large_message_profile(environment, 'kilted')
    second = use_large_message_profile(environment, 'kilted')
    assert first == second
    assert second.applied
    assert str(share_directory()) in second.text
    other = use_large_message_profile({'FASTDDS_DEFAULT_PROFILES_FILE': '/mine.xml'}, 'kilted')
    assert 'not set' in other.text
