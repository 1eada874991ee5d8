# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Every stage of a step of every family fails, by an exception and for want of memory."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from faulty_segmenter import Fault
from lifecycle_msgs.msg import State, Transition
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from segmenter_process import RELIABLE, SegmenterProcess, every_image, image
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

HERE = Path(__file__).resolve().parent
NAME = 'faulty'
TOPIC = f'/{NAME}/camera'

# What the node promises is 2 s. A shared machine may not run a process for longer than that: only
# what is far beyond it fails, and the measured times are printed.
RECOVERY = 20.0

# What the node counts an image under that is lost in a stage.
REASONS = {
    'conversion': 'conversion failed',
    'preprocessing': 'segmentation failed',
    'network': 'segmentation failed',
    'temporal part': 'segmentation failed',
    'detection': 'segmentation failed',
    'association': 'segmentation failed',
    'masks': 'segmentation failed',
    'message': 'publishing failed',
}

Note = Callable[[str, object], None]


@pytest.fixture(scope='module')
def fault(tmp_path_factory: pytest.TempPathFactory) -> Fault:
    fault = Fault(tmp_path_factory.mktemp('fault') / 'fault')
    fault.clear()
    return fault


@pytest.fixture(scope='module')
def process(fault: Fault, family: str, small_model: Path) -> Iterator[SegmenterProcess]:
    fault.clear()
    arguments = (
        '-p', f'model:={small_model}', '-p', 'torch_threads:=1', '-p', 'score_threshold:=0.0',
        '-p', 'diagnostics_period:=0.05', *every_image(TOPIC))
    command = [sys.executable, str(HERE / 'faulty_segmenter.py')]
    with SegmenterProcess(
        NAME, *arguments, command=command, env=fault.environment(family), cwd=HERE.parents[1]
    ) as segmenter:
        segmenter.activate()
        yield segmenter


@pytest.fixture
def segmenter(process: SegmenterProcess, fault: Fault) -> Iterator[SegmenterProcess]:
    """Return the node at the start of an epoch, and switch the fault off in the end."""
    process.reset()
    yield process
    fault.clear()


@pytest.fixture
def stamps() -> Iterator[int]:
    """Return stamps [ms] one after the other."""
    return itertools.count(1000)


def lose(segmenter: SegmenterProcess, stamps: Iterator[int], reason: str, number: int) -> None:
    """Send images that are dropped, each before the next one is sent."""
    for _ in range(number):
        before = segmenter.counts()
        segmenter.images.publish(image(next(stamps)))
        segmenter.wait_for_drop(reason, before)


def recover(segmenter: SegmenterProcess, stamps: Iterator[int], note: Note) -> None:
    """Check that an image is answered and the diagnostics have no more error."""
    start = time.monotonic()
    message = image(next(stamps))
    assert segmenter.answer(message).header == message.header
    segmenter.counts()  # an answer is out a moment before the node has noted it
    assert segmenter.status is not None
    assert segmenter.status.level != DiagnosticStatus.ERROR
    elapsed = time.monotonic() - start
    note('recovery [s]', f'{elapsed:.2f}')
    assert elapsed < RECOVERY


@pytest.mark.parametrize(
    'error', ['exception', pytest.param('out of memory', marks=pytest.mark.long_for_others)])
@pytest.mark.parametrize('stage', REASONS)
def test_a_failing_stage_costs_its_images_alone(
    segmenter: SegmenterProcess, fault: Fault, stamps: Iterator[int], record_property: Note,
    stage: str, error: str,
) -> None:
    """Images are dropped and counted, the third in a row is an ERROR; then all is well again."""
    reason = REASONS[stage]
    segmenter.answer(image(next(stamps)))
    fault.write((stage,), error)
    lose(segmenter, stamps, reason, 3)
    segmenter.facts()
    assert segmenter.status is not None
    assert segmenter.status.level == DiagnosticStatus.ERROR
    assert reason in segmenter.status.message
    fault.clear()
    recover(segmenter, stamps, record_property)


def test_one_failure_is_no_error(
    segmenter: SegmenterProcess, fault: Fault, stamps: Iterator[int]
) -> None:
    """The image is lost, the stream goes on: same epoch, next sequence number, same tracks."""
    segmenter.answer(image(next(stamps)))
    fault.write(('network',), 'no memory')
    lose(segmenter, stamps, 'segmentation failed', 1)
    fault.clear()
    answer = segmenter.answer(image(next(stamps)))
    assert (answer.sequence, answer.temporal_valid, answer.frames_skipped) == (2, True, 1)
    assert segmenter.status is not None
    assert segmenter.status.level != DiagnosticStatus.ERROR


@pytest.mark.long_for_others
@pytest.mark.parametrize('stage', ['overlay', 'label image'])
def test_a_picture_that_cannot_be_drawn(
    segmenter: SegmenterProcess, fault: Fault, stamps: Iterator[int], record_property: Note,
    stage: str,
) -> None:
    """Nothing is drawn while nobody listens; with a listener the instances come all the same."""
    fault.write((stage,), 'out of memory')
    failed = int(segmenter.facts()['views failed'])
    segmenter.answer(image(next(stamps)))
    assert int(segmenter.facts()['views failed']) == failed
    topic = f'/{NAME}/{stage.replace(" ", "_")}'
    pictures: list[Image] = []
    subscription = segmenter.client.create_subscription(Image, topic, pictures.append, RELIABLE)
    segmenter.spin_until(
        lambda: segmenter.answer(image(next(stamps))) is not None
        and int(segmenter.facts()['views failed']) > failed, 'a picture that fails')
    fault.clear()
    start = time.monotonic()
    segmenter.spin_until(
        lambda: segmenter.answer(image(next(stamps))) is not None and bool(pictures), 'a picture')
    record_property('recovery [s]', f'{time.monotonic() - start:.2f}')
    segmenter.client.destroy_subscription(subscription)
    segmenter.spin_until(
        lambda: segmenter.client.count_subscribers(topic) == 0, 'the end of the subscription')


def test_a_lost_device(
    segmenter: SegmenterProcess, fault: Fault, stamps: Iterator[int], record_property: Note
) -> None:
    """All steps fail until it is back; the node reports, and can be taken down and up again."""
    fault.write(('preprocessing', 'network', 'freeing'), 'device lost')
    lose(segmenter, stamps, 'segmentation failed', 4)
    segmenter.facts()
    assert segmenter.status is not None
    assert segmenter.status.level == DiagnosticStatus.ERROR
    assert 'CUDA error' in segmenter.status.message
    assert segmenter.change_state(Transition.TRANSITION_DEACTIVATE)
    assert segmenter.change_state(Transition.TRANSITION_CLEANUP), segmenter.log()[-3000:]
    assert segmenter.state() == State.PRIMARY_STATE_UNCONFIGURED
    fault.clear()
    segmenter.activate()
    recover(segmenter, stamps, record_property)


@pytest.mark.long_for_others
def test_services_answer_during_a_step(
    segmenter: SegmenterProcess, fault: Fault, stamps: Iterator[int], record_property: Note
) -> None:
    """A step of 2 s holds up neither services nor diagnostics, and sees the reset after it."""
    before = segmenter.answer(image(next(stamps)))
    fault.write(('network',), 'slow')
    segmenter.images.publish(image(next(stamps)))
    segmenter.spin_until(
        lambda: segmenter.facts()['images waiting or in work'] == '1', 'an image in work')
    answered = len(segmenter.outputs)
    assert segmenter.call(Trigger, 'reset', Trigger.Request()).success
    segmenter.set_enabled(False)
    segmenter.set_enabled(True)
    assert segmenter.set_parameters(max_missed=11)[0].successful
    assert segmenter.state() == State.PRIMARY_STATE_ACTIVE
    during = len(segmenter.outputs) == answered
    record_property('all services answered before the step was over', during)
    segmenter.spin_until(lambda: len(segmenter.outputs) > answered, 'the end of the step')
    fault.clear()
    assert segmenter.outputs[-1].epoch == before.epoch
    assert segmenter.answer(image(next(stamps))).epoch == before.epoch + 1


@pytest.mark.long_for_others
def test_deactivation_during_a_step(
    segmenter: SegmenterProcess, fault: Fault, stamps: Iterator[int], record_property: Note
) -> None:
    """The image in work is dropped and counted; the next activation answers in a new epoch."""
    before = segmenter.answer(image(next(stamps)))
    fault.write(('network',), 'slow')
    counts, answered = segmenter.counts(), len(segmenter.outputs)
    segmenter.images.publish(image(next(stamps)))
    segmenter.spin_until(
        lambda: segmenter.facts()['images waiting or in work'] == '1', 'an image in work')
    assert segmenter.change_state(Transition.TRANSITION_DEACTIVATE)
    assert segmenter.counts().dropped(['deactivated']) == counts.dropped(['deactivated']) + 1
    assert len(segmenter.outputs) == answered
    fault.clear()
    assert segmenter.change_state(Transition.TRANSITION_ACTIVATE)
    segmenter.warm_up(image)
    assert segmenter.answer(image(next(stamps))).epoch > before.epoch
    recover(segmenter, stamps, record_property)


@pytest.mark.long_for_others
def test_a_parameter_storm(segmenter: SegmenterProcess, stamps: Iterator[int]) -> None:
    """
    Hundreds of sets, right and wrong ones, while images come.

    All are answered, wrong ones with a refusal; what holds in the end is what was set last.
    """
    client = segmenter.client.create_client(SetParameters, f'/{NAME}/set_parameters')
    segmenter.spin_until(client.service_is_ready, 'the service')
    futures = []
    for number in range(200):
        value = 2.0 if number % 3 == 0 else 0.05 + number / 1000
        parameter = Parameter('score_threshold', value=value).to_parameter_msg()
        futures.append(client.call_async(SetParameters.Request(parameters=[parameter])))
        if number % 20 == 0:
            segmenter.images.publish(image(next(stamps)))
        # ROS keeps ten requests of a client, and drops the others.
        segmenter.spin_until(
            lambda: all(future.done() for future in futures[:-8]), 'answers so far')
    segmenter.spin_until(lambda: all(future.done() for future in futures), 'all answers')
    accepted = [future.result().results[0].successful for future in futures]
    assert accepted == [number % 3 != 0 for number in range(200)]
    assert segmenter.parameter('score_threshold').double_value == pytest.approx(0.05 + 0.199)
    assert segmenter.set_parameters(score_threshold=0.05)[0].successful
    segmenter.client.destroy_client(client)
    segmenter.counts()
    answered = len(segmenter.outputs)
    segmenter.images.publish(image(next(stamps)))
    segmenter.spin_until(lambda: len(segmenter.outputs) > answered, 'an answer')
