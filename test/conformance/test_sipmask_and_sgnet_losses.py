# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Targets, losses and gradients of SipMask and SG-Net against the reference (GOLDEN.md there)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from siblings import Golden, Sibling, close
from torch import Tensor

from stmask_ros.families.sgnet.config import SGNetConfig
from stmask_ros.families.sgnet.granularity import box_areas, grids_of
from stmask_ros.families.sgnet.network import SGNet, padded_choice
from stmask_ros.families.sipmask.config import SipMaskConfig
from stmask_ros.families.sipmask.network import SipMask
from stmask_ros.families.sipmask.preprocess import preprocess
from stmask_ros.families.sipmask.training.losses import (
    DensePredictions,
    LossConfig,
    SipMaskLosses,
    sipmask_losses,
)
from stmask_ros.families.sipmask.training.targets import (
    FrameTargets,
    Positives,
    assign,
    centerness_of,
)
from stmask_ros.layers.deformable import by_cell

TERMS = {
    'classification': 'loss_cls', 'box': 'loss_bbox', 'centerness': 'loss_centerness',
    'mask': 'loss_mask', 'match': 'loss_match',
}
EVERYTHING = LossConfig(max_masks=None)


@pytest.fixture(scope='module', params=['sipmask', 'sgnet'])
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope='module')
def sibling(reference_numbers: Path, family: str) -> Sibling:
    return Sibling.of(reference_numbers, family)


@pytest.fixture(scope='module')
def golden(sibling: Sibling) -> Golden:
    return sibling.numbers('loss')


def targets_of(golden: Golden) -> list[FrameTargets]:
    height, width = (int(side) for side in golden['image'])
    targets = []
    for i in range(3):
        g = {name: torch.from_numpy(golden[f'gt{i}/{name}']) for name in
             ('boxes', 'labels', 'ref_boxes', 'pids')}
        bits = np.unpackbits(golden[f'gt{i}/mask_bits'], axis=1)[:, :height * width]
        masks = torch.from_numpy(bits.reshape(-1, height, width).astype(bool))
        targets.append(FrameTargets(
            g['boxes'], g['labels'], masks, g['ref_boxes'], g['pids']
        ))
    return targets


def level_sizes(golden: Golden) -> tuple[tuple[int, int], ...]:
    return tuple((int(height), int(width)) for height, width in golden['levels'])


def jitter_of(golden: Golden) -> list[Tensor]:
    return [torch.from_numpy(golden[f'gt{i}/jitter']) for i in range(3)]


@pytest.mark.parametrize('i', range(3))
def test_targets(golden: Golden, i: int) -> None:
    target = targets_of(golden)[i]
    found = assign(target.boxes, level_sizes(golden))
    positive = found.objects >= 0
    labels = torch.where(positive, target.labels[found.objects], 0)
    expected = golden[f'target{i}/labels']
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_array_equal(found.objects[positive], golden[f'target{i}/gt_index'])
    close(found.distances[positive], golden[f'target{i}/distances'], 1e-4)
    close(centerness_of(found.distances[positive]), golden[f'target{i}/centerness'], 1e-6)


def made_up_outputs(
    sibling: Sibling, golden: Golden, grids: tuple[int, ...]
) -> dict[str, Tensor]:
    """Return the head's outputs that the reference was given, as leaves."""
    outputs = {}
    mean = torch.from_numpy(golden['head/reg_mean']).float().view(3, 1, 1, 1)
    for i, (height, width) in enumerate(level_sizes(golden)):
        def draw(name: str, channels: int, i: int = i, size: tuple[int, int] = (height, width)
                 ) -> Tensor:
            return sibling.randn(f'loss/{name}{i}', (3, channels, *size))

        outputs[f'cls{i}'] = 1.5 * draw('cls', 40) - 2
        outputs[f'reg{i}'] = 8 * 2**i * mean * (1 + 0.25 * draw('reg', 4))
        outputs[f'ctr{i}'] = draw('ctr', 1)
        for n in grids:
            outputs[f'cof{n}_{i}'] = 0.8 * draw(f'cof{n}_', 32 * n * n)
    outputs['proto'] = sibling.randn('loss/proto', (3, 32, 48, 80)).relu()
    outputs['track'] = 0.08 * sibling.randn('loss/track', (3, 512, 12, 20))
    outputs['track_ref'] = 0.08 * sibling.randn('loss/track_ref', (3, 512, 12, 20))
    return {name: value.requires_grad_() for name, value in outputs.items()}


def test_losses_of_made_up_outputs(sibling: Sibling, golden: Golden, family: str) -> None:
    """Every term, and the gradient of their sum to every output."""
    grids = (2,) if family == 'sipmask' else (2, 3, 4)
    outputs = made_up_outputs(sibling, golden, grids)

    def cells(name: str) -> Tensor:
        return by_cell([outputs[f'{name}{i}'] for i in range(5)])

    def coefficients(frames: Tensor, at: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        areas = box_areas(boxes)
        mean = torch.stack([areas[frames == i].mean() for i in range(3)])
        np.testing.assert_allclose(mean.detach(), golden['head/mean_area'], rtol=1e-3)
        places = grids_of(mean, grids, (500, 1000))[frames]
        each = [cells(f'cof{n}_')[frames, at] for n in grids]
        return padded_choice(each, places), places + 2

    losses = sipmask_losses(DensePredictions(
        cells('cls'), cells('reg'), cells('ctr').squeeze(2),
        coefficients, outputs['proto'], outputs['track'], outputs['track_ref'],
        level_sizes(golden),
    ), targets_of(golden), jitter_of(golden), EVERYTHING)
    assert_losses(losses, golden, 'head')
    losses.total.backward()
    for name, value in outputs.items():
        assert_gradient(value.grad, golden[f'head/grad/{name}'], name)


def test_losses_through_the_network(sibling: Sibling, golden: Golden, family: str) -> None:
    """Every term, and the gradients of the parameters that learn."""
    network: SipMask | SGNet = SipMask(SipMaskConfig.named('sipmask_r50_caffe_fpn_gn_1x'))
    if family == 'sgnet':
        network = SGNet(SGNetConfig.named('sgnet_r50_caffe_fpn_gn_1x', granularity='image'))
    network.load_state_dict(sibling.weights())
    network.eval()
    images = [sibling.clip.frame(t, 96, 160, 'public') for t in range(6)]
    size = SipMaskConfig(long_side=160, short_side=96)
    x, reference = (preprocess(images[i::2], size, torch.device('cpu')) for i in (0, 1))
    now, before = network(x), network(reference)
    towers = now.head.towers
    losses = sipmask_losses(DensePredictions(
        towers.class_logits, towers.distances, towers.centerness,
        partial(network.coefficients_to_learn, now), now.head.prototypes,
        network.tracking_map(now), network.tracking_map(before), towers.level_sizes,
    ), targets_of(golden), jitter_of(golden), EVERYTHING)
    assert_losses(losses, golden, 'net')
    losses.total.backward()
    parameters = dict(network.named_parameters())
    names = [key.removeprefix('net/grad/') for key in golden if key.startswith('net/grad/')]
    assert len(names) > 30
    for name in names:
        assert_gradient(parameters[name].grad, golden[f'net/grad/{name}'], name)


def assert_losses(losses: SipMaskLosses, golden: Golden, part: str) -> None:
    for ours, theirs in TERMS.items():
        expected = float(golden[f'{part}/{theirs}'])
        assert losses.terms()[ours].item() == pytest.approx(expected, rel=1e-4), ours
    assert losses.total.item() == pytest.approx(float(golden[f'{part}/total']), rel=1e-4)


def assert_gradient(gradient: Tensor | None, expected: np.ndarray, name: str) -> None:
    gradient = torch.zeros(1) if gradient is None else gradient.double()
    absolute = gradient.abs().sum().item()
    assert gradient.sum().item() == pytest.approx(expected[0], abs=1e-3 * expected[1] + 1e-9), name
    assert absolute == pytest.approx(expected[1], rel=1e-3, abs=1e-9), name
    assert gradient.norm().item() == pytest.approx(expected[2], rel=1e-3, abs=1e-9), name


def no_coefficients(frames: Tensor, cells: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
    return torch.zeros(len(frames), 128), torch.full_like(cells, 2)


def test_nothing_to_learn_from_is_zero_and_part_of_the_graph() -> None:
    """An image without objects: no error, no NaN, a gradient for every output."""
    sizes = ((12, 20), (6, 10), (3, 5), (2, 3), (1, 2))
    outputs = [torch.randn(1, 323, 40), torch.randn(1, 323, 4), torch.randn(1, 323),
               torch.rand(1, 32, 48, 80), torch.randn(1, 8, 12, 20), torch.randn(1, 8, 12, 20)]
    logits, distances, centerness, prototypes, *maps = (x.requires_grad_() for x in outputs)
    nothing = torch.zeros(0, 4)
    integers = torch.zeros(0, dtype=torch.int64)
    target = FrameTargets(nothing, integers, torch.zeros(0, 96, 160, dtype=torch.bool),
                          nothing, integers)
    losses = sipmask_losses(DensePredictions(
        logits, distances, centerness, no_coefficients, prototypes, *maps, sizes
    ), [target], [nothing])
    losses.total.backward()
    for x in (logits, distances, centerness, prototypes, *maps):
        assert x.grad is not None
        assert x.grad.isfinite().all()
    terms = losses.terms()
    assert terms.pop('classification') > 0
    assert all(value == 0 for value in terms.values())
    assert len(Positives.of([target], [assign(nothing, sizes)]).cells) == 0
