# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The table of states in docs/faults.md, walked: /diagnostics tells what is, and nothing old."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from segmenter_process import SegmenterProcess, image
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from stmask_ros.ros.image_messages import from_bgr
from stmask_ros.sources.built_in_clip import BuiltInClip

DOCUMENT = Path(__file__).resolve().parents[2] / 'docs' / 'faults.md'
LEVELS = {'OK': DiagnosticStatus.OK, 'WARN': DiagnosticStatus.WARN,
          'ERROR': DiagnosticStatus.ERROR}


def table() -> dict[str, tuple[bytes, str]]:
    """Return level and beginning of the message, by what happened."""
    rows = re.findall(r'^\| ([^|]+) \| (OK|WARN|ERROR) \| `([^`]+)` \|$', DOCUMENT.read_text(),
                      re.MULTILINE)
    return {situation: (LEVELS[level], message) for situation, level, message in rows}


class Walk:
    """Goes from situation to situation, and crosses each off the table."""

    def __init__(self, segmenter: SegmenterProcess) -> None:
        self.left = table()
        self._segmenter = segmenter
        self._stamp = 1000
        self._picture = BuiltInClip().frame(0.0)  # in which there is something to track

    def says(self, situation: str, meanwhile: Callable[[], None] = lambda: None) -> None:
        level, beginning = self.left.pop(situation)

        def is_said() -> bool:
            meanwhile()
            status = self._segmenter.status
            return (status is not None and status.level == level
                    and status.message.startswith(beginning))

        self._segmenter.facts()
        self._segmenter.spin_until(is_said, f'{situation}: {beginning}; {self._segmenter.status}')

    def change(self, transition: int) -> None:
        assert self._segmenter.change_state(transition), self._segmenter.log()

    def send(self, next_stamp: bool = True, message: Image | None = None) -> None:
        self._stamp += next_stamp
        message = message or from_bgr(self._picture, Header())
        message.header.stamp.nanosec = self._stamp * 1000
        self._segmenter.images.publish(message)
        time.sleep(0.02)

    def forgets(self) -> None:
        facts = self._segmenter.facts()
        assert (facts['live tracks'], facts['epoch']) == ('0', '0')
        assert 'latency from receipt, p50 / p95 / p99 [ms]' not in facts


def test_every_state_is_told(tmp_path: Path) -> None:
    model = tmp_path / 'stmask_lite.yaml'
    arguments = ['-p', f'model:={model}', '-p', 'device:=cpu']
    with SegmenterProcess('segmenter_states', *arguments) as segmenter:
        walk = Walk(segmenter)
        walk.says('not configured')
        assert not segmenter.change_state(Transition.TRANSITION_CONFIGURE)
        walk.says('could not be configured')
        for name in ('stmask_lite.yaml', 'stmask_lite.safetensors'):
            shutil.copy(DOCUMENT.parents[1] / 'model' / name, tmp_path)
        walk.change(Transition.TRANSITION_CONFIGURE)
        walk.says('configured')
        walk.change(Transition.TRANSITION_ACTIVATE)
        walk.says('no image comes')
        walk.says('images are answered', walk.send)
        for _ in range(200):
            walk.send()
            if (tracks := segmenter.facts()['live tracks']) != '0':
                break
        assert tracks != '0'
        walk.says('none is answered: the stamp stands still', lambda: walk.send(next_stamp=False))
        bad = image(1)
        bad.step = 1
        walk.says('three in a row could not be processed', lambda: walk.send(message=bad))
        walk.change(Transition.TRANSITION_DEACTIVATE)
        walk.left['after an error'] = walk.left['deactivated']
        walk.says('after an error')
        walk.forgets()
        walk.change(Transition.TRANSITION_ACTIVATE)
        segmenter.set_enabled(False)
        walk.says('disabled')
        segmenter.set_enabled(True)
        walk.send()
        walk.change(Transition.TRANSITION_DEACTIVATE)
        walk.says('deactivated')
        walk.forgets()
        walk.change(Transition.TRANSITION_CLEANUP)
        walk.says('cleaned up')
        walk.forgets()
        walk.change(Transition.TRANSITION_CONFIGURE)
        walk.change(Transition.TRANSITION_ACTIVATE)
        walk.forgets()
        walk.change(Transition.TRANSITION_ACTIVE_SHUTDOWN)
        walk.says('shut down')
        # Without threads to be had, in the process of test_as_a_library.py.
        assert set(walk.left) == {'could not be activated'}
