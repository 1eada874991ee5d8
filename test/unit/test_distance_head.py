# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A kept detection head: its boxes, the branches on them, and what they learn."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_models import noise, small
from torch import nn

from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.families.stmask.distance_head import BINS, DistanceHead
from stmask_ros.families.stmask.masks import SHAPE_STRENGTH, assemble, mask_logits
from stmask_ros.families.stmask.network import STMask, initialise
from stmask_ros.families.stmask.training.box_losses import BOXES_OF_AN_OBJECT, found_objects
from stmask_ros.families.stmask.training.examples import Example
from stmask_ros.families.stmask.training.loss_inputs import LossConfig
from stmask_ros.families.stmask.training.step import TrainingStep
from stmask_ros.families.stmask.training.targets import FrameTargets
from stmask_ros.layers.boxes import priors


def build() -> STMask:
    network = STMask(small(STMaskConfig.named('stmask_lite_distances')))
    initialise(network)
    return network.eval()


@pytest.fixture(scope='module')
def network() -> STMask:
    return build()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(2, 3, 96, 128, generator=torch.Generator().manual_seed(0))


def test_boxes_by_hand(network: STMask) -> None:
    head = network.head
    for level in head.levels:
        nn.init.zeros_(level[-1].weight)
        nn.init.zeros_(level[-1].bias)
        sides = level[-1].bias.data[head.num_outputs:].view(4, BINS)
        for side, distance in zip(sides, (1, 2, 3, 4), strict=True):
            side[distance] = 100
    output = head([torch.zeros(1, 16, 96 // s, 128 // s) for s in (8, 16, 32)])
    boxes = head.boxes(output, priors(output.level_sizes, ((1.0, 1.0),), torch.device('cpu')))
    # The first cell of stride 8, and the last of stride 32.
    pixels = boxes[0] * torch.tensor((128, 96, 128, 96))
    torch.testing.assert_close(pixels[0], torch.tensor((4 - 8, 4 - 16, 4 + 24, 4 + 32.)))
    torch.testing.assert_close(
        pixels[-1], torch.tensor((112 - 32, 80 - 64, 112 + 96, 80 + 128.))
    )
    assert output.probabilities(0).shape == (12 * 16 + 6 * 8 + 3 * 4, 3)
    assert (output.probabilities(0) == 0.5).all()


@torch.inference_mode()
def test_chosen_cells_have_the_values_of_all(images: torch.Tensor) -> None:
    network = build()
    predictions = network(images)
    dense = network.instances(predictions)
    anchors = torch.tensor([[0, 5, 200, 251], [7, 7, 240, 191]])
    together = network.instances_at(predictions, slice(None), anchors)
    for frame in range(2):
        alone = network.instances_at(predictions, frame, anchors[frame])
        for values, batch, every in zip(alone, together, dense, strict=True):
            torch.testing.assert_close(values, batch[frame])
            torch.testing.assert_close(values, every[frame, anchors[frame]])


@torch.inference_mode()
def test_branches_look_where_the_box_is(network: STMask) -> None:
    pyramid = [torch.zeros(1, 16, 96 // s, 128 // s) for s in (8, 16, 32)]
    box = torch.tensor([[0.25, 0.25, 0.75, 0.75]])
    frame, cell = torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
    assert isinstance(network.head, DistanceHead)
    pyramid[0][..., 3:9, 4:12] = 1  # the box, in cells of stride 8
    pyramid[1] += 5
    inside = network.head._spread(pyramid, box, frame, cell)
    assert inside.shape == (1, 16, 5, 5)
    torch.testing.assert_close(inside[..., 1:4, 1:4], torch.ones(1, 16, 3, 3))
    assert (network.head._spread(pyramid, box, frame, cell + 12 * 16) == 5).all()


def square(x: float, y: float, identity: int) -> FrameTargets:
    mask = torch.zeros(1, 96, 128, dtype=torch.bool)
    mask[0, round(96 * y):round(96 * y) + 48, round(128 * x):round(128 * x) + 64] = True
    return FrameTargets(
        torch.tensor([[x, y, x + 0.5, y + 0.5]]), torch.tensor([1]), torch.tensor([identity]), mask
    )


def test_objects_learn_on_boxes_that_overlap_them() -> None:
    boxes = torch.zeros(2, 9, 4)
    boxes[0, :6] = torch.tensor((0.1, 0.1, 0.6, 0.6))
    boxes[0, 6] = torch.tensor((0.1, 0.1, 0.4, 0.6))
    found = found_objects(boxes, [square(0.1, 0.1, 1), square(0.1, 0.1, 1)])
    assert len(found.anchors) == BOXES_OF_AN_OBJECT
    assert found.frames.tolist() == [0] * BOXES_OF_AN_OBJECT
    assert set(found.anchors.tolist()) <= set(range(7))
    assert found.weights.sum() == pytest.approx(1)
    boxes[0, :7] = 0
    assert len(found_objects(boxes[:1], [square(0.1, 0.1, 1)]).anchors) == 0


def test_all_but_the_detector_learns() -> None:
    network = build()
    # Boxes of half the image around the cells of the last level.
    last = network.head.levels[2][-1]
    nn.init.zeros_(last.weight)
    sides = last.bias.data[network.head.num_outputs:].view(4, BINS)
    sides[0::2, 1], sides[1::2, 1] = 50, 50
    sides[:, 1] = 50
    step = TrainingStep(network, LossConfig(dice=1)).train()
    targets = [square(0.25, 0.125, 1), square(0.25, 0.125, 1)]
    targets = [replace(t, boxes=torch.tensor([[0.125, 0.1667, 0.625, 0.8333]])) for t in targets]
    losses = step([[Example(noise(n), target) for n, target in enumerate(targets)]])
    assert losses.mask > 0
    assert losses.mask_shift > 0
    assert losses.classification == losses.box == losses.center == 0
    losses.total.backward()
    frozen = ('backbone.', 'fpn.', 'prediction_layers.0.levels.')
    for name, parameter in network.named_parameters():
        assert (parameter.grad is None) == name.startswith(frozen), name


def test_other_options_do_not_go_with_it() -> None:
    with pytest.raises(ValueError, match="'distances' takes one kernel"):
        STMaskConfig.named('stmask_lite_distances', kernels=((3, 3), (3, 5)), anchors=None)
    with pytest.raises(ValueError, match="'distances' takes one kernel"):
        STMaskConfig.named('STMask_resnet50', detection='distances')


def test_shapes_follow_their_box() -> None:
    prototypes = torch.zeros(16, 32, 2)
    box = torch.tensor([[0.25, 0.25, 0.75, 0.75]])
    coefficients = torch.zeros(1, 2 + 9)
    assert (mask_logits(prototypes, coefficients, box, 'none') == 0).all()
    coefficients[0, 2 + 3 * 0 + 2] = -1  # a whole wave along the columns: the middle stands out
    logits = mask_logits(prototypes, coefficients, box, 'none')[0]
    columns = (torch.arange(8, 24) + 0.5 - 8) / 16
    wave = -SHAPE_STRENGTH * (2 * torch.pi * columns).cos()
    torch.testing.assert_close(logits[:, 8:24], wave.expand(16, 16))
    coefficients[0, 2:] = 0
    coefficients[0, 2 + 3 * 1 + 0] = 1  # half a wave down the rows: the upper half
    logits = mask_logits(prototypes, coefficients, box, 'tanh')[0]
    assert (logits[:8] > 0).all()
    assert (logits[8:] < 0).all()
    assert assemble(prototypes, coefficients, box)[0, :, :7].max() == 0


def test_without_shapes_masks_are_of_prototypes_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    prototypes = torch.rand(6, 9, 4, generator=generator)
    coefficients = torch.randn(5, 4, generator=generator)
    boxes = torch.rand(5, 4, generator=generator)
    expected = torch.einsum('hwp,np->nhw', prototypes, coefficients.tanh())
    torch.testing.assert_close(mask_logits(prototypes, coefficients, boxes, 'tanh'), expected)
