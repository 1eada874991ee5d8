# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""~/load_model: another model between two images, for all cameras, while images are answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from lifecycle_msgs.msg import Transition
from segmenter_process import LATCHED, UNTRAINED, SegmenterProcess, image
from test_several_cameras import Cameras

from stmask_ros.msg import LabelInfo
from stmask_ros.srv import LoadModel

MODELS = Path(__file__).parents[1] / 'models'
CYCLES = 4


def other_model(folder: Path, name: str, **changes: Any) -> Path:
    """Write the description of a model without weights under another name."""
    path = folder / f'{name}.yaml'
    path.write_text(yaml.safe_dump(
        yaml.safe_load(UNTRAINED.read_text()) | {'name': name} | changes))
    return path


def load(node: SegmenterProcess, model: Path | str) -> LoadModel.Response:
    return node.call(LoadModel, 'load_model', LoadModel.Request(model=str(model)))


@pytest.fixture
def segmenter() -> Iterator[SegmenterProcess]:
    with SegmenterProcess(
            'swapping', '-p', f'model:={UNTRAINED}', '-p', 'device:=cpu',
            '-p', 'torch_threads:=1') as node:
        node.labels = []
        node.client.create_subscription(
            LabelInfo, '/swapping/label_info', node.labels.append, LATCHED)
        node.activate()
        yield node


def test_another_model(segmenter: SegmenterProcess, tmp_path: Path) -> None:
    """The epoch rises, and messages, classes and diagnostics tell of the new model."""
    before = segmenter.answer(image(1000))
    other = other_model(tmp_path, 'other', classes=['cup', 'plate', 'fork', 'knife'])
    answer = load(segmenter, other)
    assert answer.success, answer.message
    assert answer.model.startswith('other@')
    after = segmenter.answer(image(1100))
    assert after.model == answer.model != before.model
    assert after.epoch == before.epoch + 1
    assert (after.sequence, after.temporal_valid) == (1, False)
    assert {its.class_name for its in after.instances} <= {'cup', 'plate', 'fork', 'knife'}
    segmenter.spin_until(lambda: segmenter.labels[-1].model == answer.model, 'the classes')
    assert segmenter.labels[-1].class_names == ['cup', 'plate', 'fork', 'knife']
    facts = segmenter.facts()
    assert facts['model'] == answer.model
    assert (facts['models loaded'], facts['model requests refused']) == ('1', '0')
    counts = segmenter.counts()
    assert counts.received == counts.processed + counts.dropped()


def test_the_class_map_is_told_again(segmenter: SegmenterProcess, tmp_path: Path) -> None:
    messages = pytest.importorskip('vision_msgs.msg', reason='vision_msgs is not installed')
    received: list[Any] = []
    segmenter.client.create_subscription(
        messages.LabelInfo, '/swapping/class_map', received.append, LATCHED)
    other = other_model(tmp_path, 'other', classes=['cup', 'plate', 'fork', 'knife'])
    assert load(segmenter, other).success
    segmenter.spin_until(
        lambda: bool(received) and [item.class_name for item in received[-1].class_map]
        == ['background', 'cup', 'plate', 'fork', 'knife'], 'the new classes')


@pytest.mark.parametrize('family', ['sipmask', 'msts'])
def test_a_model_of_another_family(segmenter: SegmenterProcess, family: str) -> None:
    segmenter.answer(image(1000))
    answer = load(segmenter, MODELS / f'{family}.yaml')
    assert answer.success, answer.message
    assert segmenter.answer(image(1100)).model == answer.model
    assert load(segmenter, UNTRAINED).success
    assert segmenter.answer(image(1200)).model.startswith('untrained@')


def test_images_are_answered_meanwhile(segmenter: SegmenterProcess) -> None:
    """By the old model until it is replaced; a second request is refused; nothing is dropped."""
    client = segmenter.client.create_client(LoadModel, '/swapping/load_model')
    segmenter.spin_until(client.service_is_ready, 'the service')
    first = client.call_async(LoadModel.Request(model='stmask_plus_resnet50_ada'))
    segmenter.spin_until(
        lambda: segmenter.facts()['model that is loading'] != 'none', 'the beginning')
    second = client.call_async(LoadModel.Request(model=str(UNTRAINED)))
    stamps = 1000
    while not first.done():
        stamps += 100
        segmenter.answer_to(image(stamps))
    segmenter.spin_until(second.done, 'the refusal')
    assert not second.result().success
    assert 'is being loaded' in second.result().message
    assert first.result().success, first.result().message
    models = [its.model.partition('@')[0] for its in segmenter.outputs]
    assert models[0] == 'untrained'
    assert segmenter.answer_to(image(stamps + 100)).model == first.result().model
    assert 'Traceback' not in segmenter.log()


def test_all_cameras_go_over(tmp_path: Path) -> None:
    cameras = Cameras('all_over', '-p', 'max_batch:=4', '-p', 'batch_wait:=0.5')
    try:
        cameras.connect('front', 'left')
        cameras.send({name: image(1000) for name in ('front', 'left')})
        before = {name: cameras.answers[name][-1] for name in ('front', 'left')}
        answer = load(cameras.node, other_model(tmp_path, 'other'))
        assert answer.success, answer.message
        cameras.send({name: image(1100) for name in ('front', 'left')})
        for name, old in before.items():
            new = cameras.answers[name][-1]
            assert new.model == answer.model != old.model
            assert new.epoch == old.epoch + 1
    finally:
        cameras.node.close()


def test_states(segmenter: SegmenterProcess, tmp_path: Path) -> None:
    """An inactive node goes over too; an unconfigured one refuses; configure loads `model`."""
    other = other_model(tmp_path, 'other')
    assert segmenter.change_state(Transition.TRANSITION_DEACTIVATE)
    assert load(segmenter, other).success
    assert segmenter.change_state(Transition.TRANSITION_ACTIVATE)
    segmenter.warm_up(image)
    assert segmenter.answer(image(1000)).model.startswith('other@')
    assert segmenter.change_state(Transition.TRANSITION_DEACTIVATE)
    assert segmenter.change_state(Transition.TRANSITION_CLEANUP)
    refused = load(segmenter, other)
    assert (refused.success, refused.model) == (False, '')
    assert 'not configured' in refused.message
    assert segmenter.change_state(Transition.TRANSITION_CONFIGURE)
    assert segmenter.facts()['model'].startswith('untrained@')


def test_memory_returns_to_that_of_one_model(
    segmenter: SegmenterProcess, tmp_path: Path, long: bool,
    record_property: Callable[[str, object], None],
) -> None:
    """Over several swaps the process grows by less than one more model would take."""
    models = [other_model(tmp_path, f'other_{i}') for i in range(2)]
    process = psutil.Process(segmenter.process.pid)
    sizes: list[float] = []

    def is_one_model() -> bool:
        sizes[-1] = process.memory_info().rss / 2**20
        return len(sizes) < 3 or sizes[-1] - sizes[1] < 12 + 0.05 * sizes[1]

    for number in range(5 * CYCLES if long else CYCLES):
        assert load(segmenter, models[number % 2]).success
        segmenter.answer(image(1000 + 100 * number))
        sizes.append(0.0)
        # A thread may hold the former model for a moment after its last step.
        segmenter.spin_until(is_one_model, 'the memory of one model')
    record_property('resident after each swap [MiB]', ' '.join(f'{size:.0f}' for size in sizes))
    record_property('threads', process.num_threads())
