# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A head of distances that learns: what is annotated, and nothing at the cost of the rest."""

from __future__ import annotations

import pytest
import torch
from small_models import noise, small

from stmask_ros.families.errors import TrainingError
from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.families.stmask.network import STMask, initialise
from stmask_ros.families.stmask.training.detection_losses import (
    CELLS_OF_AN_OBJECT,
    MOST_RISE,
    UNSEEN,
    detection_losses,
)
from stmask_ros.families.stmask.training.examples import Example
from stmask_ros.families.stmask.training.family import STMaskTraining
from stmask_ros.families.stmask.training.loss_inputs import LossConfig
from stmask_ros.families.stmask.training.step import TrainingStep
from stmask_ros.families.stmask.training.targets import FrameTargets
from stmask_ros.families.stmask.training.teacher import TeacherPredictions

TRUE_BOX = (0.25, 0.25, 0.75, 0.75)


def target(*boxes: tuple[float, ...]) -> FrameTargets:
    """Return objects of the first class, or of the second and so on."""
    masks = torch.zeros(len(boxes), 96, 128, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        mask[round(96 * top):round(96 * bottom), round(128 * left):round(128 * right)] = True
    count = torch.arange(1, len(boxes) + 1)
    return FrameTargets(torch.tensor(boxes).reshape(-1, 4), count, count, masks)


def grid(side: int) -> torch.Tensor:
    places = (torch.arange(side) + 0.5) / side
    y, x = torch.meshgrid(places, places, indexing='ij')
    return torch.stack((x, y), -1).reshape(-1, 2)


CENTERS = grid(8)


def predicted(box: tuple[float, ...] = TRUE_BOX) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits [1, 64, 3] of little use, and the same box for all cells."""
    logits = torch.full((1, 64, 3), -3.0).requires_grad_()
    return logits, torch.tensor(box).expand(1, 64, 4).clone().requires_grad_()


def goals_of(logits: torch.Tensor, boxes: torch.Tensor, overlap: float = 1.0) -> torch.Tensor:
    """Return what the gradient of the classes leads to; all boxes overlap the object so much."""
    assert torch.equal(boxes[0, 0], torch.tensor(TRUE_BOX))
    return logits.detach().sigmoid() - CELLS_OF_AN_OBJECT * overlap * logits.grad


def inside(box: tuple[float, ...]) -> torch.Tensor:
    x, y = CENTERS.T
    left, top, right, bottom = box
    return (left <= x) & (x <= right) & (top <= y) & (y <= bottom)


def test_what_is_not_annotated_keeps_its_answers() -> None:
    logits, boxes = predicted()
    box, classes = detection_losses(logits, boxes, logits.detach(), CENTERS, [target()])
    (box + classes).backward()
    assert box == 0
    assert classes.item() == pytest.approx(0, abs=1e-4)
    assert not logits.grad.any()
    changed = (logits.detach() + torch.randn_like(logits)).requires_grad_()
    box, classes = detection_losses(changed, boxes, logits.detach(), CENTERS, [target()])
    (box + classes).backward()
    assert box == 0
    assert classes > 0
    # As much as it differs, however little that is: many small differences raise all scores.
    torch.testing.assert_close(changed.grad, changed.sigmoid() - logits.sigmoid())


def test_cells_in_the_object_learn_its_class_and_what_was_less_likely_rises_with_it() -> None:
    _, boxes = predicted()
    kept = torch.tensor([-1.0, -3.0, 0.5]).expand(1, 64, 3)
    logits = kept.clone().requires_grad_()
    _, classes = detection_losses(logits, boxes, kept, CENTERS, [target(TRUE_BOX)])
    classes.backward()
    grows = logits.grad[0] < 0
    assert grows[:, 0].sum() == CELLS_OF_AN_OBJECT
    assert (inside(TRUE_BOX) | ~grows[:, 0]).all()
    assert torch.equal(grows[:, 0], grows[:, 1])
    assert not logits.grad[0, ~grows[:, 0]].any()
    assert not logits.grad[..., 2].any()
    goals = goals_of(logits, boxes)[0, grows[:, 0]]
    torch.testing.assert_close(
        torch.logit(goals[:, :2]), kept[0, :CELLS_OF_AN_OBJECT, :2] + MOST_RISE)


def test_boxes_learn_where_they_are_nearly_right_already() -> None:
    logits, boxes = predicted((0.3, 0.25, 0.75, 0.75))
    box, _ = detection_losses(logits, boxes, logits.detach(), CENTERS, [target(TRUE_BOX)])
    # One box is inside of the other: 1 - IoU, and nothing for what encloses both.
    assert box.item() == pytest.approx(0.1, abs=1e-5)
    box.backward()
    assert (boxes.grad[..., 0] > 0).sum() == CELLS_OF_AN_OBJECT
    assert not boxes.grad[..., 1:].abs().gt(boxes.grad[..., :1].abs()).any()


def test_a_wrong_box_is_no_reason_to_raise_a_score() -> None:
    """The goal is the overlap, of a sixteenth here."""
    logits, boxes = predicted((0.25, 0.25, 0.375, 0.375))
    _, classes = detection_losses(logits, boxes, logits.detach(), CENTERS, [target(TRUE_BOX)])
    classes.backward()
    assert (logits.sigmoid() - logits.grad).max().item() == pytest.approx(1 / 16)


def test_a_known_score_does_not_fall() -> None:
    _, boxes = predicted((0.3, 0.25, 0.75, 0.75))
    sure = torch.full((1, 64, 3), 5.0)
    logits = sure.clone().requires_grad_()
    detection_losses(logits, boxes, sure, CENTERS, [target(TRUE_BOX)])[1].backward()
    assert not logits.grad.any()


def test_each_object_has_cells_of_its_own() -> None:
    left, right = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
    is_left = CENTERS[:, :1] < 0.5
    boxes = torch.where(is_left, torch.tensor(left), torch.tensor(right))[None]
    # What was more likely than the truth does not rise with it.
    kept = torch.where(is_left, torch.tensor([-3.0, -2, -2]), torch.tensor([-2.0, -3, -2]))[None]
    logits = kept.clone().requires_grad_()
    detection_losses(logits, boxes, kept, CENTERS, [target(left, right)])[1].backward()
    for number, box in enumerate((left, right)):
        grows = logits.grad[0, :, number] < 0
        assert grows.sum() == CELLS_OF_AN_OBJECT
        assert (inside(box) | ~grows).all()


def taught(
    logits: torch.Tensor, boxes: torch.Tensor, predictions: TeacherPredictions,
    *annotated: tuple[float, ...], overlap: float = 1.0,
) -> torch.Tensor:
    """Return the goals of classes, of which -3 was known in all cells."""
    targets = [target(*annotated)]
    box_loss, classification = detection_losses(
        logits, boxes, logits.detach().clone(), CENTERS, targets, [predictions])
    (box_loss + classification).backward()
    return goals_of(logits, boxes, overlap)


def test_a_teachers_predictions_take_the_place_of_the_kept_ones() -> None:
    logits, boxes = predicted()
    scores = torch.tensor(((0.8, 0.1, 0.0), (0.2, 0.0, 0.9)))
    elsewhere = (0.0, 0.0, 0.2, 0.2)
    predictions = TeacherPredictions(
        scores, torch.tensor((TRUE_BOX, elsewhere)), torch.tensor([0, 1]))
    goals = taught(logits, boxes, predictions)[0]
    # Whatever else there is, the box of a cell decides which prediction is the cell's.
    left = UNSEEN * torch.tensor(-3.0).sigmoid().item()
    torch.testing.assert_close(goals, torch.tensor((0.8, 0.1, left)).expand_as(goals))


def test_a_soft_label_is_worth_less_the_less_the_boxes_are_the_same() -> None:
    for box, overlap, share in (((0.25, 0.25, 0.75, 0.6), 0.7, 0.5), ((0, 0.25, 1, 0.75), 0.5, 0)):
        logits, boxes = predicted()
        predictions = TeacherPredictions(
            torch.tensor(((0.8, 0.4, 0.4),)), torch.tensor((box,)),
            torch.tensor([0]))
        goals = taught(logits, boxes, predictions, overlap=overlap)[0, 0]
        left = UNSEEN * torch.tensor(-3.0).sigmoid().item()
        expected = torch.tensor((0.8, 0.4, 0.4)) * share
        torch.testing.assert_close(goals, expected.clamp(min=left))


def test_the_order_of_classes_is_the_teachers_where_an_object_is_annotated() -> None:
    logits, boxes = predicted()
    predictions = TeacherPredictions(
        torch.tensor(((0.2, 0.6, 0.1),)), torch.tensor((TRUE_BOX,)), torch.tensor([0]))
    goals = taught(logits, boxes, predictions, TRUE_BOX)[0]
    cell = goals[:, 0].argmax()
    # The first class is annotated: it rises to the overlap, here one, as far as it may.
    assert goals[cell, 0] > 0.7
    assert goals[cell, 1] == pytest.approx(0.6, abs=1e-4)
    assert goals[cell, 2] > 0.5


def test_boxes_that_the_teacher_alone_sees_are_learned() -> None:
    box = (0.3, 0.3, 0.8, 0.8)
    for annotated, learns in (
        ((), True), ((TRUE_BOX,), False), (((0.0, 0.0, 0.1, 0.1),), True),
    ):
        logits, boxes = predicted()
        predictions = TeacherPredictions(
            torch.tensor(((0.8, 0.1, 0.0),)), torch.tensor((box,)), torch.tensor([0]))
        taught(logits, boxes, predictions, *annotated)
        # The boxes are equal to TRUE_BOX already, from which no gradient comes.
        assert bool(boxes.grad.abs().amax(2).sum() > 1e-6) is learns, annotated


def started_network() -> STMask:
    network = STMask(small(STMaskConfig.named('stmask_lite_distances')))
    initialise(network)
    for level in network.head.levels:  # as a trained one: nothing is seen in most cells
        torch.nn.init.constant_(level[-1].bias, -3.0)
    return network


def test_a_tuned_detector_finds_what_it_did_not() -> None:
    network = started_network()
    options = LossConfig(tuned_detector=True)
    training = STMaskTraining()
    step = training.step(network, options, 'float32')
    assert isinstance(step, TrainingStep)
    groups = training.parameter_groups(network)
    assert all(p.requires_grad for group in groups for p in group.parameters)
    before = {name: value.clone() for name, value in step.start.state_dict().items()}
    optimiser = torch.optim.AdamW([p for group in groups for p in group.parameters], 3e-3)
    pair = [Example(noise(1), target(TRUE_BOX))] * 2
    first = last = step([pair])
    for _ in range(30):
        last = step([pair])
        optimiser.zero_grad()
        last.total.backward()
        optimiser.step()
    assert last.box < 0.7 * first.box
    assert last.classification < first.classification
    for name, value in step.start.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_losses_are_float32_in_any_precision() -> None:
    network = started_network()
    # The mask has 6,000 pixels: bfloat16 counts up to 256.
    pair = [Example(noise(1), target((0.2, 0.1, 0.8, 0.9)))] * 2
    terms = []
    for precision in ('float32', 'bfloat16'):
        step = TrainingStep(network, LossConfig(tuned_detector=True, dice=10), precision)
        torch.manual_seed(0)
        terms.append(step([pair]).terms())
    assert terms[0]['mask'] > 0
    for name, value in terms[0].items():
        assert terms[1][name].dtype == torch.float32, name
        assert terms[1][name].item() == pytest.approx(value.item(), rel=0.03, abs=1e-3), name


@pytest.mark.parametrize(('configuration', 'words'), [
    ('stmask_lite_distances', 'expected initial_weights with the same classes'),
    ('stmask_lite', "expected detection 'distances'"),
])
def test_without_answers_to_keep_it_is_refused(configuration: str, words: str) -> None:
    network = STMask(small(STMaskConfig.named(configuration)))
    initialise(network)
    with pytest.raises(TrainingError, match=words):
        STMaskTraining().step(network, LossConfig(tuned_detector=True), 'float32')
