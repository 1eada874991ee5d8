# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A trace file is whole after every event, bounded, and never costs the caller anything."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from rclpy.logging import get_logger

from stmask_ros.node.tracing import TraceFile, Tracer


def spans(path: Path) -> list[dict[str, Any]]:
    return [event for event in json.loads(path.read_text()) if event['ph'] == 'X']


def test_the_file_is_whole_after_every_event(tmp_path: Path) -> None:
    file = TraceFile(tmp_path / 'trace.json', 'segmenter')
    assert spans(file.path) == []
    for number in range(3):
        file.span('step', 1000 * number, 1000 * number + 500, {'camera': 'a"\n', 'image': number})
        assert [span['args']['image'] for span in spans(file.path)] == list(range(number + 1))
    assert [(span['ts'], span['dur']) for span in spans(file.path)] == [
        (0.0, 0.5), (1.0, 0.5), (2.0, 0.5)]
    assert {span['args']['camera'] for span in spans(file.path)} == {'a"\n'}
    file.close()


def test_every_thread_has_its_name(tmp_path: Path) -> None:
    file = TraceFile(tmp_path / 'trace.json', 'segmenter')
    file.span('receipt', 0, 1, {})
    other = threading.Thread(target=lambda: file.span('step', 0, 1, {}), name='worker')
    other.start()
    other.join()
    events = json.loads(file.path.read_text())
    names = {event['tid']: event['args']['name'] for event in events
             if event['name'] == 'thread_name'}
    assert {span['name']: names[span['tid']] for span in spans(file.path)} == {
        'receipt': 'MainThread', 'step': 'worker'}
    file.close()


def test_its_size_is_bounded_and_the_newest_are_kept(tmp_path: Path) -> None:
    file = TraceFile(tmp_path / 'trace.json', 'segmenter', largest=4096)
    for number in range(500):
        file.span('step', number, number + 1, {'image': number})
    paths = sorted(tmp_path.iterdir())
    assert [path.name for path in paths] == ['trace.json', 'trace.previous.json']
    assert all(path.stat().st_size < 4096 + 512 for path in paths)
    newest = [span['args']['image'] for path in reversed(paths) for span in spans(path)]
    assert newest == list(range(newest[0], 500))
    file.close()


def test_no_file_of_another_is_written(tmp_path: Path) -> None:
    (tmp_path / 'mine').write_text('precious')
    (tmp_path / 'link').symlink_to(tmp_path / 'mine')
    for name in ('mine', 'link'):
        with pytest.raises(FileExistsError):
            TraceFile(tmp_path / name, 'segmenter')
    assert (tmp_path / 'mine').read_text() == 'precious'


def test_it_is_switched_on_and_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('ROS_LOG_DIR', str(tmp_path / 'log'))
    tracer = Tracer(get_logger('test'), '/robot/segmenter')
    tracer.span('step', 0, 1, {})
    assert tracer.path == ''
    tracer.switch(True)
    tracer.switch(True)
    tracer.span('step', 0, 1, {'image': 1})
    (path,) = (tmp_path / 'log').iterdir()
    assert tracer.path == str(path)
    assert path.name.startswith('trace_robot.segmenter_')
    tracer.switch(False)
    tracer.span('step', 0, 1, {'image': 2})
    assert [span['args']['image'] for span in spans(path)] == [1]
    assert tracer.path == ''


def test_a_full_disk_ends_the_trace_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('ROS_LOG_DIR', str(tmp_path))
    tracer = Tracer(get_logger('test'), 'segmenter')
    tracer.switch(True)

    def full(*_: Any) -> int:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'pwrite', full)
    tracer.span('step', 0, 1, {})
    assert tracer.path == ''
    tracer.span('step', 0, 1, {})
    tracer.switch(False)


def test_a_log_directory_that_cannot_be_written_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('ROS_LOG_DIR', str(tmp_path / 'file' / 'log'))
    tracer = Tracer(get_logger('test'), 'segmenter')
    tracer.switch(True)
    tracer.span('step', 0, 1, {})
    assert tracer.path == ''
