# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Configure, activate, answer, deactivate, clean up, over and over: nothing is left behind.

Of each family, 4 cycles; 1,000 with --long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from family_models import NAMES, model_of
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from segmenter_process import SegmenterProcess, image
from toy_segmenter import command_for

NAME = 'cycles'
SETTLED = 2
MEMORY_LIMIT = 16.0

CYCLE = (
    Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE,
    Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP,
)


@dataclass(frozen=True)
class Belongings:
    """What a process has: resident memory [MiB], threads and open files."""

    memory: float
    threads: int
    files: int

    @classmethod
    def of(cls, pid: int) -> Belongings:
        """Return those of a process now."""
        status = dict(
            line.split(':\t', 1) for line in Path(f'/proc/{pid}/status').read_text().splitlines())
        return cls(
            int(status['VmRSS'].split()[0]) / 1024, int(status['Threads']),
            len(list(Path(f'/proc/{pid}/fd').iterdir())))


@pytest.fixture(params=NAMES)
def segmenter(request: pytest.FixtureRequest) -> Iterator[SegmenterProcess]:
    family = str(request.param)
    node = SegmenterProcess(
        NAME, '-p', f'model:={model_of(family)}', '-p', 'torch_threads:=1',
        '-p', f'qos_overrides./{NAME}/camera.subscription.reliability:=reliable',
        command=command_for(family))
    try:
        yield node
    finally:
        node.close()


class Driver:
    """Takes a node through its cycle, with one client for all requests."""

    def __init__(self, node: SegmenterProcess) -> None:
        self.node = node
        self.client = node.client.create_client(ChangeState, f'/{NAME}/change_state')
        node.spin_until(self.client.service_is_ready, 'the service')

    def cycle(self, stamp: int) -> None:
        for transition in CYCLE:
            request = ChangeState.Request(transition=Transition(id=transition))
            future = self.client.call_async(request)
            self.node.spin_until(future.done, 'a transition')
            assert future.result().success, self.node.log()[-3000:]
            if transition == Transition.TRANSITION_ACTIVATE:
                self.node.wait_for_connection()
                self.node.answer_to(image(stamp))


def test_cycles(
    segmenter: SegmenterProcess, record_property: Callable[[str, object], None], long: bool
) -> None:
    """As much memory, as many threads and files as after the first cycles."""
    driver, had = Driver(segmenter), []
    for number in range(1000 if long else 4):
        driver.cycle(1 + number)
        had.append(Belongings.of(segmenter.process.pid))
        del segmenter.outputs[:]
    for number in sorted({0, SETTLED - 1, len(had) // 4, len(had) // 2, len(had) - 1}):
        record_property(f'after cycle {number + 1}', had[number])
    first, last = had[SETTLED - 1], had[-1]
    assert last.memory - first.memory < MEMORY_LIMIT
    assert last.threads <= first.threads
    assert last.files <= first.files
