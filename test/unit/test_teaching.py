# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""New classes on a model of ours: which classes it has then, what stays, what is refused."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from small_models import small

from benchmark import teaching_scene
from stmask_ros.cli import main
from stmask_ros.evaluation.dataset import DatasetError
from stmask_ros.families.class_teaching import TaughtClass
from stmask_ros.families.errors import TrainingError
from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.families.stmask.network import STMask, initialise
from stmask_ros.families.stmask.teaching import memory
from stmask_ros.families.stmask.teaching.family import STMaskTeaching
from stmask_ros.families.stmask.teaching.growth import Outputs, grown
from stmask_ros.families.stmask.teaching.learner import HeadLearner
from stmask_ros.families.stmask.teaching.memory import load_memory, save_memory
from stmask_ros.models.checkpoint import load_model
from stmask_ros.teaching.class_plan import ClassChanges, plan_classes
from stmask_ros.teaching.held_out import held_out
from stmask_ros.teaching.material import Material, read_material
from stmask_ros.teaching.variations import variation

BEFORE = ('person', 'car', 'truck')


def plan(labelled: list[str], **changes: object) -> list[TaughtClass]:
    return list(plan_classes(BEFORE, labelled, ClassChanges(**changes)).classes)


def test_classes_are_kept_and_added() -> None:
    assert plan(['pallet']) == [
        *(TaughtClass(name, (row,)) for row, name in enumerate(BEFORE)),
        TaughtClass('pallet', (), True),
    ]
    assert plan(['pallet'], keep=['truck']) == [
        TaughtClass('truck', (2,)), TaughtClass('pallet', (), True)]
    assert plan(['pallet'], keep=[]) == [TaughtClass('pallet', (), True)]


def test_classes_are_replaced() -> None:
    assert plan(['car'], replace=['car'])[1] == TaughtClass('car', (), True)
    known = plan_classes(BEFORE, ['car', 'pallet'], ClassChanges())
    assert known.classes[1] == TaughtClass('car', (1,))  # labelled, and yet as it was
    assert known.labels == {'car': 2, 'pallet': 4}


def test_classes_are_merged_of_old_and_new_ones() -> None:
    merged = plan_classes(BEFORE, ['forklift', 'pallet'], ClassChanges(
        merge={'vehicle': ['car', 'truck', 'forklift']}))
    assert merged.classes == (
        TaughtClass('person', (0,)), TaughtClass('pallet', (), True),
        TaughtClass('vehicle', (1, 2), True),
    )
    assert merged.labels == {'forklift': 3, 'pallet': 2}


@pytest.mark.parametrize(('labelled', 'changes', 'words'), [
    (['car'], {}, 'nothing to learn'),
    (['pallet'], {'keep': ['cat']}, '--keep: no class cat'),
    (['pallet'], {'replace': ['car']}, '--replace: no class car'),
    (['pallet'], {'merge': {'x': ['car', 'cat']}}, '--merge: no class cat'),
    (['pallet'], {'merge': {'x': ['car'], 'y': ['car']}}, 'car would be two classes'),
    (['pallet'], {'merge': {'person': ['car', 'pallet']}}, 'person would be two classes'),
])
def test_classes_that_do_not_fit_are_refused(labelled, changes, words) -> None:
    with pytest.raises(TrainingError, match=words):
        plan(labelled, **changes)


@torch.inference_mode()
def test_what_is_kept_stays_as_it_was_bit_by_bit() -> None:
    network = STMask(small(STMaskConfig.named('stmask_lite_distances')))
    initialise(network)
    network.eval()
    classes = (TaughtClass('c', (2,)), TaughtClass('new', (), True), TaughtClass('ab', (0, 1)))
    outputs = Outputs.of(network.config, classes)
    after = grown(network, outputs)
    assert (outputs.learned, after.config.class_outputs) == ([1], (1, 1, 2))
    assert after.config.mask_branches == (0, 1, 0)
    images = torch.randn(1, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    old, new = network(images).head, after(images).head
    assert torch.equal(new.box_deltas, old.box_deltas)
    assert torch.equal(new.class_logits[..., 0], old.class_logits[..., 2])
    assert torch.equal(new.class_logits[..., 2], old.class_logits[..., :2].amax(-1))
    again = grown(after, Outputs.of(after.config, (TaughtClass('ab', (2,)),)))
    assert torch.equal(again(images).head.class_logits[..., 0], new.class_logits[..., 2])


def with_another_class(network: STMask) -> STMask:
    """Return the network with a class more, which is the best one of some cells."""
    config = network.config
    kept = [TaughtClass(str(row), (row,)) for row in range(config.num_classes)]
    after = grown(network, Outputs.of(config, (*kept, TaughtClass('new', (), True))))
    for level in after.head.levels:
        level[-1].weight[config.num_classes] = torch.randn(config.channels, 1, 1)
    return after


@torch.inference_mode()
def test_masks_of_kept_classes_stay_as_they_were_bit_by_bit() -> None:
    torch.manual_seed(0)
    network = STMask(small(STMaskConfig.named('stmask_lite_distances'))).eval()
    initialise(network)
    images = torch.randn(1, 3, 96, 128)
    for branches in ((0, 0, 0, 1), (0, 0, 0, 1, 2)):  # what was taught is taught again
        after = with_another_class(network)
        assert after.config.mask_branches == branches
        old, new = network(images), after(images)
        is_new = new.head.class_logits.argmax(2) == len(branches) - 1
        assert 0 < is_new.sum() < is_new.numel()
        one, other = network.instances(old), after.instances(new)
        same = (one.mask_coefficients == other.mask_coefficients).all(2)
        assert torch.equal(same, ~is_new)
        assert torch.equal(one.embeddings, other.embeddings)
        network = after


@torch.inference_mode()
def test_new_classes_take_nothing_from_classes_that_their_objects_do_not_look_like() -> None:
    torch.manual_seed(0)
    network = STMask(small(STMaskConfig.named('stmask_lite_distances'))).eval()
    initialise(network)
    for level in network.head.levels:
        torch.nn.init.normal_(level[-1].weight[:3], std=5)
    classes = [TaughtClass('a', (0,)), TaughtClass('b', (1,)), TaughtClass('c', (2,), True),
               TaughtClass('new', (), True)]
    learner = HeadLearner(network, classes, torch.device('cpu'), 1)
    learner.bias.fill_(2.0)  # both see their objects everywhere
    learner.cells.fill_(100)
    learner.alike.copy_(torch.tensor([[0.0, 0, 100], [50, 0, 0]]))
    images = torch.randn(1, 3, 96, 128)
    after = learner.finish()
    old, new = (each(images).head.class_logits.sigmoid() for each in (network, after))
    torch.testing.assert_close(new[..., :2], old[..., :2])
    is_sure = old[..., :3] > 0.1
    a, b, c = is_sure.unbind(2)
    assert all(0 < each.sum() < each.numel() for each in (a & ~b & ~c, b | c, a | b))
    assert torch.equal(new[..., 3] > 0.5, ~(b | c))  # some of its objects look like a
    seen = old[..., 2].clamp(min=torch.tensor(2.0).sigmoid().item())
    torch.testing.assert_close(new[..., 2], torch.where(a | b, old[..., 2], seen))
    assert network(images).head.rivals is None
    # Not of c: what it keeps yields to none.
    assert after(images).head.rivals.nonzero().tolist() == [[1, 3], [2, 3]]
    some = (TaughtClass('new', (3,)), TaughtClass('b', (1,)))
    again = grown(after, Outputs.of(after.config, some))
    assert torch.equal(again(images).head.class_logits.sigmoid()[..., 0] > 0.5, ~b)


def test_what_a_model_has_seen_holds_for_its_features_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = load_model('stmask_lite').network
    (tmp_path / 'model').mkdir()
    monkeypatch.setattr(memory, 'share_directory', lambda: tmp_path)
    assert load_memory(network) is None
    cells = [torch.randn(count, 128).half() for count in (5, 3, 1)]
    save_memory(tmp_path / 'model' / memory.MEMORY, network, cells)
    found = load_memory(network)
    assert found is not None and all(map(torch.equal, found, cells))
    other = copy.deepcopy(network)
    other.prediction_layers[0].levels[0][0].weight.mul_(2)
    assert load_memory(other) is None


@torch.inference_mode()
def test_new_classes_are_cautious_on_other_pictures() -> None:
    network = load_model('stmask_lite').network
    classes = [*(TaughtClass(str(row), (row,)) for row in range(80)), TaughtClass('new', (), True)]
    learner = HeadLearner(network, classes, torch.device('cpu'), 1)
    learner.weight.copy_(torch.randn(learner.weight.shape, generator=torch.manual_seed(0)))
    checked = [level[round(0.8 * len(level)):].float() for level in load_memory(network)]
    logits = torch.cat([
        cells @ level[-1].weight[80].flatten() + level[-1].bias[80]
        for cells, level in zip(checked, learner.finish().head.levels, strict=True)])
    assert 0 < len(logits) // 1000 == (logits.sigmoid() > 0.2).sum()


def write_folder(folder: Path, frames: int = 10, labelled: int = 10) -> Path:
    noise = np.random.default_rng(0).integers(0, 255, (frames, 480, 854, 3), np.uint8)
    nothing = np.zeros((frames, 480, 854), bool)
    things = [teaching_scene.thing(kind, frames, 1) for kind in teaching_scene.KINDS]
    scene = [
        teaching_scene.Frame(frame.picture, frame.masks[1:])
        for frame in teaching_scene.scene(list(noise), list(nothing), things, 1)]
    teaching_scene.write(folder, [scene], [
        teaching_scene.labels_of(scene, teaching_scene.KINDS, range(labelled))])
    return folder


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp('teaching') / 'data')


@pytest.fixture
def material(folder: Path) -> Material:
    return read_material(folder)


def test_held_out_frames_are_in_a_row_and_never_learned_from(material: Material) -> None:
    split = held_out(material, teaching_scene.KINDS)
    assert split.held_out == (8, 9)
    assert split.learned == tuple(range(8))


def test_held_out_are_those_with_objects_of_their_own(folder: Path, tmp_path: Path) -> None:
    content = json.loads((folder / 'annotations.json').read_text())
    pallet = next(entry for entry in content['annotations'] if entry['category_id'] == 3)
    other = pallet | {'id': 999, 'segmentations': [
        mask if frame in (3, 4) else None for frame, mask in enumerate(pallet['segmentations'])]}
    pallet['segmentations'][3:5] = [None, None]
    for entry in content['annotations']:
        entry.pop('bboxes'), entry.pop('areas')
    other.pop('bboxes'), other.pop('areas')
    content['annotations'].append(other)
    (tmp_path / 'annotations.json').write_text(json.dumps(content))
    (tmp_path / 'images').symlink_to(folder / 'images')
    assert held_out(read_material(tmp_path), teaching_scene.KINDS).held_out == (3, 4)


def test_a_class_in_one_frame_is_refused(folder: Path) -> None:
    material = read_material(folder).only([0])
    with pytest.raises(DatasetError, match='too few labelled frames'):
        held_out(material, teaching_scene.KINDS)


def test_variations_keep_masks_on_their_objects(material: Material) -> None:
    frame = material.read(material.frames[0], {'pallet': 1})
    assert sorted(frame.labels.tolist()) == [0, 0, 1]
    painted = frame.image.copy()
    painted[...] = 0
    painted[frame.masks[0]] = 255
    other = variation(replace(frame, image=painted), 3, 7)
    inside = cv2.erode(other.masks[0].astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert inside.sum() > 100
    assert other.image[inside].mean() > 2 * other.image.mean()
    assert other.image[inside].min() > 100


def test_bad_input_ends_in_a_sentence_and_leaves_what_was_there(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / 'out'
    for break_it, words in BROKEN:
        bad = tmp_path / words.split()[0]
        bad.mkdir()
        content = json.loads((folder / 'annotations.json').read_text())
        (bad / 'images').symlink_to(folder / 'images')
        break_it(content)
        (bad / 'annotations.json').write_text(json.dumps(content))
        caplog.clear()
        assert main(['teach', 'stmask_lite', str(bad), '--out', str(out)]) == 1
        assert words in caplog.text
        assert not out.exists()


def _empty(content: dict[str, Any]) -> None:
    content['videos'], content['annotations'] = [], []


def _without_labels(content: dict[str, Any]) -> None:
    content['videos'][0]['labelled'] = [False] * 10


def _without_objects(content: dict[str, Any]) -> None:
    content['annotations'] = []


def _one_frame(content: dict[str, Any]) -> None:
    content['videos'][0]['labelled'] = [True] + [False] * 9


def _overlapping(content: dict[str, Any]) -> None:
    content['annotations'].append(content['annotations'][0] | {'id': 999})


def _other_size(content: dict[str, Any]) -> None:
    content['videos'].append(content['videos'][0] | {'id': 9, 'height': 300})


BROKEN = [
    (_empty, 'holds no frame'), (_without_labels, '0 of 0 labelled frames show an object'),
    (_without_objects, 'of 10 labelled frames show'), (_one_frame, '1 of 1 labelled frames'),
    (_overlapping, 'cover the same pixels'), (_other_size, '640x360'),
]


def test_models_that_cannot_be_taught_say_which_can(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for model, words in (
        ('stmask_plus_resnet50_ada', 'never trained'), ('nothing', "no model 'nothing'"),
    ):
        caplog.clear()
        assert main(['teach', model, str(folder), '--out', str(tmp_path / 'out')]) == 1
        assert words in caplog.text
    with pytest.raises(TrainingError, match='stmask_lite'):
        STMaskTeaching().check(STMaskConfig.named('STMask_plus_resnet50_ada'))
    assert not (tmp_path / 'out').exists()
