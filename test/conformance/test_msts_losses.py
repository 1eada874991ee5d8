# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Matching and losses of MS-STS against the reference's, alone and through the network."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from msts_reference import CLIP, PREFIX, Arrays, arrays, network, randn, uniform
from torch import Tensor

from stmask_ros.families.msts.layout import own_name, unused_names
from stmask_ros.families.msts.network import MSTS
from stmask_ros.families.msts.preprocess import normalised
from stmask_ros.families.msts.training.losses import (
    ClipPredictions,
    LayerLosses,
    clip_losses,
    layer_losses,
)
from stmask_ros.families.msts.training.matching import match, matching_cost
from stmask_ros.families.msts.training.targets import ClipTargets

NAMES = {'classification': 'ce', 'box': 'bbox', 'overlap': 'giou', 'mask': 'mask', 'dice': 'dice'}
PADDED = (96, 160)


def targets(golden: Arrays) -> list[ClipTargets]:
    frames = int(golden['frames'])
    return [_target(golden, f'gt{i}/', frames) for i in range(2)]


def _target(golden: Arrays, prefix: str, frames: int) -> ClipTargets:
    height, width = map(int, golden[f'{prefix}size'])
    bits = np.unpackbits(golden[f'{prefix}mask_bits'], axis=-1)[:, :height * width]
    masks = torch.from_numpy(bits.reshape(-1, frames, height, width)).bool()
    padded = torch.zeros((len(masks), frames, *PADDED), dtype=torch.bool)
    padded[..., :height, :width] = masks
    return ClipTargets(
        torch.from_numpy(golden[f'{prefix}labels']),
        torch.from_numpy(golden[f'{prefix}boxes']).view(-1, frames, 4), padded,
    )


def gradient(value: Tensor) -> tuple[float, float, float]:
    given = value.double()
    return float(given.sum()), float(given.abs().sum()), float(given.norm())


def close_gradient(actual: Tensor, expected: np.ndarray) -> None:
    total, absolute, norm = gradient(actual)
    assert abs(total - expected[0]) <= 1e-3 * expected[1]
    assert abs(absolute - expected[1]) <= 1e-3 * expected[1]
    assert norm == pytest.approx(expected[2], rel=1e-3)


def test_losses_of_given_predictions() -> None:
    golden = arrays('loss')
    frames, true = int(golden['frames']), targets(golden)
    logits = (1.5 * randn('loss/logits', (2, 14, 42)) - 2).requires_grad_()
    boxes = uniform('loss/boxes', (2, frames, 14, 4), 0.1, 0.7).requires_grad_()
    masks = randn('loss/masks', (2, 14, frames, PADDED[0] // 4, PADDED[1] // 4)).requires_grad_()
    matches = []
    for i, target in enumerate(true):
        cost = matching_cost(logits[i], boxes[i], target)
        np.testing.assert_allclose(cost.detach(), golden[f'cost{i}'], rtol=1e-5, atol=1e-5)
        matches.append(match(logits[i], boxes[i], target))
        np.testing.assert_array_equal(matches[i].queries, golden[f'match{i}/query'])
        np.testing.assert_array_equal(matches[i].objects, golden[f'match{i}/target'])
    matched = [masks[i, pairs.queries] for i, pairs in enumerate(matches)]
    losses = layer_losses(ClipPredictions(logits, boxes, matched), true, matches, 3)
    for name, their in NAMES.items():
        term = float(getattr(losses, name).detach())
        assert term == pytest.approx(float(golden[f'loss_{their}']), rel=1e-5)
    total = total_of(losses)
    assert float(total.detach()) == pytest.approx(float(golden['total']), rel=1e-5)
    total.backward()
    for name, value in (('logits', logits), ('boxes', boxes), ('masks', masks)):
        assert value.grad is not None
        close_gradient(value.grad, golden[f'grad/{name}'])


def total_of(losses: LayerLosses) -> Tensor:
    factors = {'classification': 2, 'box': 5, 'overlap': 2, 'mask': 2, 'dice': 5}
    return torch.stack([factor * getattr(losses, n) for n, factor in factors.items()]).sum()


def test_losses_through_the_network() -> None:
    """Every loss of every layer, and the gradient of every trained parameter."""
    golden = arrays('loss_network')
    net: MSTS = network().requires_grad_(True)
    # As a training with frozen_stages: 1 does it.
    for part in (net.backbone.conv1, net.backbone.bn1, net.backbone.layers[0]):
        part.requires_grad_(False)
    frozen = {name for name, p in net.named_parameters()
              if not p.requires_grad and p.dim() == 4}
    assert frozen == {own_name(k) for k in json.loads(str(golden['net/frozen']))}
    images, valid = padded_clips(golden)
    try:
        losses = clip_losses(net, images, valid, targets(golden))
        losses.total.backward()
        check_losses(golden, losses.layers)
        assert float(losses.total.detach()) == pytest.approx(float(golden['net/total']), rel=1e-4)
        gradients = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
        expected = {k.removeprefix('net/grad/'): v for k, v in golden.items()
                    if k.startswith('net/grad/')}
        assert all(expected[key][1] == 0 for key in unused_names(expected))
        for key in expected.keys() - set(unused_names(expected)):
            if not key.endswith('time_attention_weights.bias'):  # zero but for noise
                close_gradient(gradients[own_name(key)], expected[key])
    finally:
        net.zero_grad(set_to_none=True)
        net.requires_grad_(False)


def check_losses(golden: Arrays, layers: list[LayerLosses]) -> None:
    for i, layer in enumerate(layers):
        suffix = '' if i == len(layers) - 1 else f'_{i}'
        for name, their in NAMES.items():
            expected = float(golden[f'net/loss_{their}{suffix}'])
            term = float(getattr(layer, name).detach())
            assert term == pytest.approx(expected, rel=1e-4), (i, name)


def padded_clips(golden: Arrays) -> tuple[Tensor, Tensor]:
    frames = int(golden['frames'])
    images = torch.zeros((2, frames, 3, *PADDED))
    valid = torch.zeros((2, *PADDED), dtype=torch.bool)
    for i in range(2):
        height, width = map(int, golden[f'gt{i}/size'])
        pictures = [CLIP.frame(5 * t + i, height, width, PREFIX[:-1]) for t in range(frames)]
        images[i, :, :, :height, :width] = normalised(pictures)
        valid[i, :height, :width] = True
    return images, valid
