# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The demo as a user runs it: both nodes, real DDS, a bag that keeps every promise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from annotated_clip import walking_cat, write_bag
from rosbags.interfaces import QosDurability

from stmask_ros.bags.files import offered_qos, read_bag
from stmask_ros.bags.recording import check_recording

UNTRAINED = Path(__file__).with_name('untrained.yaml')


def run_demo(out: Path, *arguments: str, status: int = 0) -> str:
    """Run the demo in a domain of its own and return what it printed."""
    environment = os.environ | {'ROS_DOMAIN_ID': str(1 + (os.getpid() + 50) % 100)}
    process = subprocess.run(
        [sys.executable, '-m', 'stmask_ros.cli', 'demo', '--out', str(out), *arguments],
        capture_output=True, text=True, timeout=300, env=environment, check=False,
    )
    assert process.returncode == status, process.stdout + process.stderr
    return process.stdout


def check(out: Path, printed: str, at_least: int, untrained: bool = False) -> None:
    """Read the bag back, and look at the other results."""
    images, instances = '/camera/image_raw/compressed', '/segmenter/instances'
    recording = check_recording(out / 'bag', images, instances)
    assert recording.outputs >= at_least
    assert recording.instances > 0
    topics = {message.topic for message in read_bag(out / 'bag')}
    assert '/segmenter/overlay' in topics
    (label_info,) = read_bag(out / 'bag', '/segmenter/label_info')
    assert label_info.content.class_names
    (offered,) = offered_qos(out / 'bag')['/segmenter/label_info']
    assert offered.durability == QosDurability.TRANSIENT_LOCAL
    video = cv2.VideoCapture(str(out / 'overlay.mp4'))
    assert video.isOpened()
    assert video.read()[0]
    assert cv2.imread(str(out / 'overlay.png')) is not None
    assert ('not trained' in printed.replace('\n', ' ')) == untrained


def test_built_in_clip(tmp_path: Path) -> None:
    printed = run_demo(tmp_path / 'out', '--rate', '0')
    check(tmp_path / 'out', printed, at_least=2)


def test_a_model_without_weights_says_so(tmp_path: Path) -> None:
    arguments = ('--rate', '0', '--model', str(UNTRAINED), '--birth-threshold', '0')
    printed = run_demo(tmp_path / 'out', *arguments)
    check(tmp_path / 'out', printed, at_least=2, untrained=True)


def test_folder_of_pictures(tmp_path: Path) -> None:
    folder = tmp_path / 'pictures'
    folder.mkdir()
    for number, frame in enumerate(walking_cat('cat', 20).frames):
        cv2.imwrite(str(folder / f'{number:02}.jpg'), frame)
    printed = run_demo(tmp_path / 'out', '--source', str(folder), '--rate', '5')
    check(tmp_path / 'out', printed, at_least=2)


def test_bag(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'cat', walking_cat('cat', 20), '.jpg')
    printed = run_demo(tmp_path / 'out', '--source', str(bag), '--rate', '10')
    check(tmp_path / 'out', printed, at_least=2)
    headers = {m.content.header.frame_id for m in read_bag(tmp_path / 'out' / 'bag',
                                                           '/segmenter/instances')}
    assert headers == {'camera'}


@pytest.mark.parametrize('problem', ['files', 'model', 'source'])
def test_nothing_of_the_user_is_lost(tmp_path: Path, problem: str) -> None:
    out = tmp_path / 'out'
    if problem == 'files':
        out.mkdir()
        (out / 'thesis.tex').write_text('mine')
    arguments = {'model': ('--model', 'no-such'), 'source': ('--source', str(tmp_path / 'no'))}
    printed = run_demo(out, *arguments.get(problem, ()), status=1).replace('\n', ' ')
    if problem == 'files':
        assert '--overwrite' in printed
        assert [path.name for path in out.iterdir()] == ['thesis.tex']
    else:
        assert 'no' in printed
        assert not out.exists()


@pytest.mark.slow
def test_with_depth(tmp_path: Path) -> None:
    printed = run_demo(tmp_path / 'out', '--depth')
    assert 'of the distance' in printed
    topics = {message.topic for message in read_bag(tmp_path / 'out' / 'bag')}
    assert '/lifter/instances_3d' in topics
    assert cv2.imread(str(tmp_path / 'out' / 'top_view.png')) is not None
    video = cv2.VideoCapture(str(tmp_path / 'out' / 'tracks.mp4'))
    assert video.read()[0]
