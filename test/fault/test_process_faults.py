# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The node's process is told to end, killed, stopped, or cannot write: it ends cleanly or goes on.

Each signal comes at one random point, with --long at 20 (test/ros has fixed ones).
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from segmenter_process import COMMAND, SegmenterProcess, image

ARGUMENTS = ('-p', 'autostart:=true', '-p', 'torch_threads:=1')

# What the node promises is 2 s, and the measured times are printed. A shared machine may not run
# a process for longer than that: only what is far beyond it fails.
END = 20.0

Start = Callable[..., SegmenterProcess]
Note = Callable[[str, object], None]


@pytest.fixture
def start(family: str, small_model: Path) -> Iterator[Start]:
    """Return a function that starts a node and ends it after the test."""
    running: list[SegmenterProcess] = []

    def _start(name: str, **process: object) -> SegmenterProcess:
        model = ('-p', f'model:={small_model}')
        running.append(SegmenterProcess(name, *ARGUMENTS, *model, **process))
        return running[-1]

    yield _start
    for process in running:
        process.close()


def wait_for_handler(segmenter: SegmenterProcess, number: int) -> None:
    """Wait until Python has read the first lines of ours, in which a handler is installed."""
    status = Path(f'/proc/{segmenter.process.pid}/status')

    def is_installed() -> bool:
        caught = re.search(r'SigCgt:\s+(\w+)', status.read_text())
        return caught is not None and bool(int(caught[1], 16) & 1 << number - 1)

    segmenter.spin_until(is_installed, 'the signal handler')


@pytest.mark.long_for_others
@pytest.mark.parametrize(
    'number', [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_signals_at_random_points(
    start: Start, long: bool, record_property: Note, number: signal.Signals
) -> None:
    """
    While it imports, loads, waits, or works: exit code 0 and no traceback.

    After kill -9 a new node of the same name answers, which says that nothing stands in its way.
    """
    generator = random.Random(number)
    slowest = 0.0
    for _ in range(20 if long else 1):
        segmenter = start('signalled')
        wait_for_handler(segmenter, signal.SIGTERM)
        segmenter.play(generator.uniform(0.0, 8.0))
        begin = time.monotonic()
        segmenter.process.send_signal(number)
        code = segmenter.process.wait(END)
        slowest = max(slowest, time.monotonic() - begin)
        assert code == (-number if number == signal.SIGKILL else 0), segmenter.log()
        assert 'Traceback' not in segmenter.log()
        segmenter.close()
    record_property('slowest end [s]', f'{slowest:.2f}')
    if number == signal.SIGKILL:
        survivor = start('signalled')
        survivor.warm_up(image)
        survivor.answer(image(1000))


EARLY = """
import os, rclpy
initialise = rclpy.init
def init(*arguments, **keywords):
    os.kill(os.getpid(), {number:d})
    initialise(*arguments, **keywords)
rclpy.init = init
from stmask_ros.node.segmenter_node import main
main()
"""


@pytest.mark.long_for_others
@pytest.mark.parametrize(
    'number', [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_before_ros_handles_signals(start: Start, number: signal.Signals) -> None:
    """Between the imports and the start of ROS too: exit code 0 and no traceback."""
    script = EARLY.format(number=number)
    segmenter = start('early', command=[sys.executable, '-c', script])
    assert segmenter.process.wait(120) == 0, segmenter.log()
    assert 'Traceback' not in segmenter.log()


def assert_works_and_ends(segmenter: SegmenterProcess) -> None:
    """Check that it answers, drops a bad image with a message, and ends with exit code 0."""
    segmenter.warm_up(image)
    bad = image(1000)
    bad.encoding = 'none'
    segmenter.images.publish(bad)
    segmenter.answer_to(image(1033))
    segmenter.process.send_signal(signal.SIGTERM)
    assert segmenter.process.wait(END) == 0


@pytest.mark.long_for_others
def test_nothing_it_writes_arrives(
    start: Start, tmp_path: Path, record_property: Note
) -> None:
    """Its log's disk and its console's are full, its terminal is gone: it works all the same."""
    fill = (
        f'mount -t tmpfs -o size=16k none {tmp_path} && '
        f'cat /dev/zero > {tmp_path}/full 2> /dev/null; exec "$@"')
    wrapper = ['unshare', '--user', '--map-root-user', '--mount', 'sh', '-c', fill, 'sh']
    # Not every machine gives a user namespace to mount a small file system in.
    fits = subprocess.run([*wrapper, 'true'], capture_output=True, check=False).returncode == 0
    record_property('with a full log disk', fits)
    read, gone = os.pipe()
    os.close(read)
    try:
        with Path('/dev/full').open('w') as full:
            assert_works_and_ends(start(
                'mute', command=[*wrapper, *COMMAND] if fits else COMMAND,
                stdout=full, stderr=gone, env=dict(os.environ) | {'ROS_LOG_DIR': str(tmp_path)}))
    finally:
        os.close(gone)


@pytest.mark.long_for_others
def test_a_log_folder_that_cannot_be(start: Start) -> None:
    """ROS starts no node without one: exit code 1 and the reason, no traceback."""
    segmenter = start('unlogged', env=dict(os.environ) | {'ROS_LOG_DIR': '/dev/full'})
    assert segmenter.process.wait(120) == 1
    assert '/dev/full' in segmenter.log()
    assert 'Traceback' not in segmenter.log()
