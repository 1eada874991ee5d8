# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Images at three times the node's capacity: latency stays flat, and the books agree exactly.

10 seconds; 600 with --long; of other families than the first 5 and 60. The latencies are printed
as multiples of the time between two answers in the same run, under overload the time of one step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from family_models import PACKAGED
from segmenter_process import RELIABLE, UNTRAINED, SegmenterProcess, every_image, image

from stmask_ros.msg import TrackedInstanceArray

NAME = 'overload'
TOPIC = f'/{NAME}/camera'
OVERLOAD = 3
REPLACED = 'replaced by a newer image'
# Of other families and of the first, short and with --long.
SECONDS = ((5.0, 60.0), (10.0, 600.0))

# The target is 2 steps. On a shared machine single steps take several times as long as others, and
# only a queue that grows, which has hundreds of steps in the end, must fail.
FAR_BEYOND = 10.0


@pytest.fixture
def segmenter(family: str, small_model: Path) -> Iterator[SegmenterProcess]:
    model = UNTRAINED if family == PACKAGED[0] else small_model
    arguments = ('-p', 'autostart:=true', '-p', f'model:={model}', *every_image(TOPIC))
    with SegmenterProcess(NAME, *arguments) as node:
        node.warm_up(image)
        yield node


def capacity(segmenter: SegmenterProcess) -> float:
    """Return how many images a second the node answers one after the other."""
    start = time.monotonic()
    for number in range(10):
        segmenter.answer(image(1000 + number))
    return 10 / (time.monotonic() - start)


def publish(segmenter: SegmenterProcess, rate: float, seconds: float) -> int:
    """Send images at a rate [Hz], never catching up in bursts, and return how many."""
    end = time.monotonic() + seconds
    sent = 0
    while (now := time.monotonic()) < end:
        segmenter.images.publish(image(2000 + sent))
        sent += 1
        while (left := now + 1 / rate - time.monotonic()) > 0:
            segmenter.executor.spin_once(timeout_sec=left)
    return sent


def test_three_times_the_capacity(
    segmenter: SegmenterProcess, record_property: Callable[[str, object], None], family: str,
    long: bool,
) -> None:
    """No latency builds up, and received = processed + dropped, to the last image."""
    rate = OVERLOAD * capacity(segmenter)
    arrivals: list[float] = []
    segmenter.client.create_subscription(
        TrackedInstanceArray, f'/{NAME}/instances', lambda _: arrivals.append(time.monotonic()),
        RELIABLE)
    before, already = segmenter.counts(), len(segmenter.outputs)
    seconds = SECONDS[family == PACKAGED[0]][long]
    sent = publish(segmenter, rate, seconds)
    while (after := segmenter.counts()).received < before.received + sent:
        pass
    answers = segmenter.outputs[already:]
    record_property('sent, at three times the capacity [Hz]', f'{sent} at {rate:.1f}')
    record_property('answered', len(answers))
    assert after.received - before.received == sent
    assert after.processed - before.processed == len(answers)
    replaced = after.dropped([REPLACED]) - before.dropped([REPLACED])
    assert replaced == after.dropped() - before.dropped() == sent - len(answers)
    assert sum(answer.frames_skipped for answer in answers) == replaced
    _check_latencies(answers, np.diff(arrivals), record_property)


def _check_latencies(
    answers: list[TrackedInstanceArray], steps: np.ndarray,
    record_property: Callable[[str, object], None],
) -> None:
    step = float(steps.mean())
    latencies = np.array([
        answer.processing_time.sec + answer.processing_time.nanosec * 1e-9 for answer in answers])
    quarters = np.array_split(latencies / step, 4)
    record_property('mean time of a step [ms]', f'{1e3 * step:.1f}')
    record_property('slowest of a hundred steps [steps]', f'{np.percentile(steps, 99) / step:.2f}')
    record_property('latency from receipt, median [steps]', f'{np.median(latencies) / step:.2f}')
    p99 = float(np.percentile(latencies, 99)) / step
    record_property('latency from receipt, p99 [steps]; target 2', f'{p99:.2f}')
    medians = [float(np.median(quarter)) for quarter in quarters]
    record_property('medians of the quarters [steps]', ' '.join(f'{m:.2f}' for m in medians))
    assert medians[-1] < FAR_BEYOND
