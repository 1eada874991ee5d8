# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A model that cannot be loaded while another one runs, and a node that changes its mind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lifecycle_msgs.msg import State, Transition
from segmenter_process import UNTRAINED, SegmenterProcess, image
from test_weight_faults import FAULTS, SPOILED, Folder

from stmask_ros.srv import LoadModel

SLOW = 'stmask_plus_resnet50_ada'


@pytest.fixture
def segmenter() -> Iterator[SegmenterProcess]:
    node = SegmenterProcess(
        'loading', '-p', f'model:={UNTRAINED}', '-p', 'device:=cpu', '-p', 'torch_threads:=1')
    node.activate()
    yield node
    node.close()


def begin_to_load(node: SegmenterProcess, model: str) -> Any:
    """Return the future of the answer, once the model is being loaded."""
    client = node.client.create_client(LoadModel, f'/{node.name}/load_model')
    node.spin_until(client.service_is_ready, 'the service')
    answer = client.call_async(LoadModel.Request(model=model))
    node.spin_until(lambda: node.facts()['model that is loading'] != 'none', 'the beginning')
    return answer


def test_a_damaged_model_leaves_the_old_one_running(
    segmenter: SegmenterProcess, tmp_path: Path
) -> None:
    """Each of the faults that configuring refuses: refused, with the reason; nothing is run."""
    folder = Folder(tmp_path, UNTRAINED)
    before = segmenter.answer(image(1000))
    faults: list[tuple[Callable[[Folder], None], str]] = list(FAULTS.items())
    for number, (spoil, told) in enumerate(faults, start=1):
        folder.mend()
        spoil(folder)
        refused = segmenter.call(
            LoadModel, 'load_model', LoadModel.Request(model=str(tmp_path / 'small.yaml')))
        assert not refused.success
        assert told in refused.message, spoil.__name__
        assert refused.model == before.model
        assert not (tmp_path / SPOILED).exists()
        after = segmenter.answer(image(1000 + 100 * number))
        assert (after.model, after.epoch) == (before.model, before.epoch)
    facts = segmenter.facts()
    assert facts['model requests refused'] == facts['model requests received'] == str(len(FAULTS))
    assert told in facts['model refused last']
    for model in ('', '  ', 'no such model', '/dev/zero', '\0'):
        refused = segmenter.call(LoadModel, 'load_model', LoadModel.Request(model=model))
        assert not refused.success, model
    folder.mend()
    mended = segmenter.call(
        LoadModel, 'load_model', LoadModel.Request(model=str(tmp_path / 'small.yaml')))
    assert mended.success, mended.message
    assert 'Traceback' not in segmenter.log()


@pytest.mark.parametrize('end', ['cleanup', 'shutdown', 'once more'])
def test_transitions_while_a_model_loads(segmenter: SegmenterProcess, end: str) -> None:
    """Cleaned up meanwhile, the node gives the model up; active again, it takes it."""
    answer = begin_to_load(segmenter, SLOW)
    assert segmenter.change_state(Transition.TRANSITION_DEACTIVATE)
    if end == 'once more':
        assert segmenter.change_state(Transition.TRANSITION_ACTIVATE)
        segmenter.spin_until(answer.done, 'the answer')
        assert answer.result().success, answer.result().message
        assert segmenter.facts()['model'].startswith(SLOW)
        return
    if end == 'cleanup':
        assert segmenter.change_state(Transition.TRANSITION_CLEANUP)
        state = State.PRIMARY_STATE_UNCONFIGURED
    else:
        assert segmenter.change_state(Transition.TRANSITION_INACTIVE_SHUTDOWN)
        state = State.PRIMARY_STATE_FINALIZED
    segmenter.spin_until(answer.done, 'the answer')
    assert not answer.result().success
    assert 'cleaned up meanwhile' in answer.result().message
    assert segmenter.state() == state
    assert segmenter.facts()['model'] == ''
    assert 'Traceback' not in segmenter.log()


def test_a_storm_of_models(segmenter: SegmenterProcess) -> None:
    """One at a time is loaded, the others are refused, each is answered and counted."""
    client = segmenter.client.create_client(LoadModel, '/loading/load_model')
    segmenter.spin_until(client.service_is_ready, 'the service')
    answers = [
        client.call_async(LoadModel.Request(model=str(model)))
        for _ in range(3) for model in (UNTRAINED, 'no such model')]
    for number in range(1, 20):
        segmenter.answer_to(image(1000 * number))
        if all(answer.done() for answer in answers):
            break
    segmenter.spin_until(lambda: all(answer.done() for answer in answers), 'all answers')
    granted = sum(answer.result().success for answer in answers)
    assert granted >= 1
    facts = segmenter.facts()
    assert [facts[name] for name in ('model requests received', 'models loaded')] == [
        str(len(answers)), str(granted)]
    assert int(facts['model requests refused']) == len(answers) - granted
    assert 'Traceback' not in segmenter.log()
