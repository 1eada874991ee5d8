# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""MS-STS learns: targets, groups, the discriminator, and runs of a small network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_msts import small_config, small_network

from benchmark.msts_training import drawn_clip, overfit
from stmask_ros.evaluation.dataset_run import Worker
from stmask_ros.families.errors import TrainingError
from stmask_ros.families.family import Augmentation
from stmask_ros.families.frames import AnnotatedFrame
from stmask_ros.families.msts.family import MSTS_FAMILY
from stmask_ros.families.msts.network import MSTS
from stmask_ros.families.msts.training.augmentation import distorted, varied
from stmask_ros.families.msts.training.discriminator import (
    Discriminator,
    adversarial_loss,
    discriminator_loss,
    predicted_foreground,
    true_foreground,
)
from stmask_ros.families.msts.training.examples import Batch, Example, clip_targets, example
from stmask_ros.families.msts.training.losses import LossConfig
from stmask_ros.families.msts.training.optimiser import parameter_groups
from stmask_ros.families.msts.training.step import TrainingStep
from stmask_ros.families.msts.training.targets import ClipTargets
from stmask_ros.training.clips import Clip
from stmask_ros.training.config import SyntheticData, TrainingConfig
from stmask_ros.training.trainer import Trainer
from stmask_ros.training.workers import Team

CPU = torch.device('cpu')


def frame(ids: list[int], columns: list[int], size: tuple[int, int] = (64, 96)) -> AnnotatedFrame:
    """Return a frame whose objects are columns of 8 pixels, of class 2."""
    masks = np.zeros((len(ids), *size), np.bool_)
    for mask, column in zip(masks, columns, strict=True):
        mask[16:48, column:column + 8] = True
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    return AnnotatedFrame(image, masks, np.full(len(ids), 2), np.array(ids, np.int64))


def examples_of(*clips: list[AnnotatedFrame], **options: object) -> list[Example]:
    rng = np.random.default_rng(0)
    config = small_config(**options)
    return [example(clip, config, Augmentation(flip=False), rng) for clip in clips]


def trained_network(**options: object) -> MSTS:
    return small_network(**options).train().requires_grad_(True)


def test_objects_are_joined_over_the_frames_of_a_clip() -> None:
    targets = clip_targets([frame([7, 3], [8, 32]), frame([3], [40])], (64, 96))
    assert len(targets) == 2
    assert targets.labels.tolist() == [2, 2]
    first, second = targets.masks  # of the ids 3 and 7
    assert first[0, 20, 33] and first[1, 20, 41]
    assert second[0, 20, 9] and not second[1].any()
    expected = [36 / 96, 0.5, 8 / 96, 0.5]
    torch.testing.assert_close(targets.boxes[0, 0], torch.tensor(expected))
    assert targets.boxes[1, 1].max() <= 1e-6  # absent


def test_targets_whose_shapes_do_not_go_together_are_refused() -> None:
    masks = torch.zeros(2, 3, 8, 8, dtype=torch.bool)
    with pytest.raises(ValueError, match=r'got \[2\], \[2, 4, 4\], \[2, 3, 8, 8\]'):
        ClipTargets(torch.ones(2, dtype=torch.int64), torch.zeros(2, 4, 4), masks)


def test_batches_are_padded_at_the_right_and_below() -> None:
    batch = Batch.of(examples_of([frame([1], [8])], [frame([1], [8], (64, 70))]), CPU)
    assert batch.images.shape == (2, 1, 3, 64, 96)
    assert batch.valid[1, :, :70].all() and not batch.valid[1, :, 70:].any()
    assert not batch.images[1, ..., 70:].any()
    assert batch.targets[1].masks.shape == (1, 1, 64, 96)


def test_clips_are_varied_as_the_authors_do() -> None:
    """Sizes and crops are of the ranges, all objects stay where they are seen, colors change."""
    rng, sides, crops = np.random.default_rng(0), set(), 0
    clip = [frame([1, 2], [8, 60], (360, 640)), frame([1], [16], (360, 640))]
    for _ in range(40):
        frames, side = varied(clip, 360, rng)
        height, width = frames[0].image.shape[:2]
        assert all(its.image.shape == (height, width, 3) for its in frames)
        assert all(its.masks.shape[1:] == (height, width) for its in frames)
        assert any(its.masks.any() for its in frames)
        is_crop = (height, width) != (360, 640)
        assert not is_crop or (384 <= height <= 600 and 384 <= width <= 600)
        assert side * max(height, width) / min(height, width) <= 768.5
        sides.add(side)
        crops += is_crop
    assert sides >= {288, 320, 352, 392, 416} and 5 < crops < 35
    grey = np.full((8, 8, 3), 100, np.uint8)
    shades = {distorted(grey, rng).tobytes() for _ in range(40)}
    assert len(shades) > 20
    found = example(clip, small_config(varied=True), Augmentation(), rng)
    assert found.images.shape[1:3] == found.targets.masks.shape[2:]


@pytest.mark.parametrize('modules', [False, True])
def test_every_parameter_takes_part_in_every_pass(modules: bool) -> None:
    network = trained_network(modules=modules)
    step = TrainingStep(network, LossConfig(frames=2), 'float32')
    nothing = [frame([], []), frame([], [])]
    for clips in ([[frame([1], [8]), frame([1], [16])], nothing], [nothing, nothing]):
        network.zero_grad(set_to_none=True)
        losses = step(examples_of(*clips))
        assert bool(losses.total.isfinite())
        torch.testing.assert_close(sum(losses.terms().values()), losses.total)
        losses.total.backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert bool(parameter.grad.isfinite().all()), name


def test_boxes_of_absent_frames_can_be_left_out() -> None:
    network = trained_network()
    clips = examples_of([frame([1], [8]), frame([], [])])
    both = [
        TrainingStep(network, LossConfig(frames=2, absent_boxes=absent), 'float32')(clips)
        for absent in (True, False)
    ]
    assert both[0].layers[-1].box != both[1].layers[-1].box
    torch.testing.assert_close(both[0].layers[-1].mask, both[1].layers[-1].mask)


def test_groups_hold_every_parameter_once() -> None:
    network = small_network(modules=True)
    groups = parameter_groups(network)
    parameters = [p for group in groups for p in group.parameters]
    rest = [p for n, p in network.named_parameters() if not n.startswith('backbone.')]
    assert len(parameters) == len(set(map(id, parameters))) == len(rest)
    slow = set(map(id, groups[1].parameters))
    names = [n for n, p in network.named_parameters() if id(p) in slow]
    assert groups[1].rate == 0.1
    assert all('reference_points' in n or 'sampling_offsets' in n for n in names)
    assert len(names) == 2 + 2 * (2 + 2)


def test_discriminator_and_network_pull_at_each_other() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(64)
    images = torch.randn(2, 3, 64, 96)
    levels = [torch.randn(2, 64, 8, 12), torch.randn(2, 64, 4, 6), torch.randn(2, 64, 2, 3)]
    levels = [level.requires_grad_() for level in levels]
    masks = torch.zeros(1, 2, 64, 96, dtype=torch.bool)
    masks[..., 16:48, 24:48] = True
    true = true_foreground(masks, (8, 12))
    assert true[0, 0, 3, 4] == 1 and true[0, 0, 0, 0] == 0
    logits = torch.randn(1, 2, 16, 24, requires_grad=True)
    predicted = predicted_foreground(logits, (8, 12))
    assert predicted.shape == true.shape
    discriminator_loss(discriminator, images, levels, true, predicted).backward()
    assert logits.grad is None and levels[0].grad is None
    assert all(p.grad is not None for p in discriminator.parameters())
    discriminator.zero_grad()
    adversarial_loss(discriminator, images, levels, predicted).backward()
    assert logits.grad is not None and logits.grad.any()
    assert all(level.grad is not None and level.grad.any() for level in levels)
    assert not any(p.grad is not None and p.grad.any() for p in discriminator.parameters())


def test_the_discriminator_learns_beside_the_network() -> None:
    network = trained_network()
    config = LossConfig(frames=2, discriminator=0.05, discriminator_warm_up=2)
    step = TrainingStep(network, config, 'float32')
    clips = examples_of([frame([1], [8]), frame([], [])], [frame([], []), frame([], [])])
    terms = []
    before = None
    for _ in range(3):
        losses = step(clips)
        losses.total.backward()
        terms.append(float(losses.terms()['adversarial'].detach()))
        adversary = step._adversary
        assert adversary is not None
        now = adversary.discriminator.first.weight.detach().clone()
        assert before is None or not torch.equal(now, before)
        before = now
    assert 0 < terms[0] < terms[1]
    assert {name.split('.')[0] for name, _ in step.named_parameters()} == {'network'}


class DrawnClips:
    """Four clips of two frames."""

    def __len__(self) -> int:
        return 4

    def clip(self, number: int, rng: np.random.Generator) -> Clip:
        return tuple(drawn_clip(number, 2))


def run_config(out: Path, **changes: object) -> TrainingConfig:
    return TrainingConfig(**{
        'name': 'tiny', 'family': 'msts', 'configuration': 'msts_lite', 'out': out,
        'classes': ('disc', 'square', 'triangle'), 'synthetic': (SyntheticData(),),
        'options': {'channels': 64, 'feedforward': 64, 'queries': 12, 'short_side': 64,
                    'encoder_layers': 1, 'decoder_layers': 2},
        'loss': LossConfig(frames=2), 'batch_size': 2, 'iterations': 3, 'optimiser': 'adamw',
        'warm_up': 2, 'steps': (), 'workers': 0, 'checkpoint_every': 0, **changes,
    })


@pytest.mark.parametrize('discriminator', [0.0, 0.05])
def test_a_stopped_run_is_the_run_that_was_not(tmp_path: Path, discriminator: float) -> None:
    alone = Team(Worker(), CPU)
    loss = LossConfig(frames=2, discriminator=discriminator, discriminator_warm_up=3)

    def trainer(folder: str) -> Trainer:
        return Trainer(run_config(tmp_path / folder, loss=loss), alone, [DrawnClips()])

    whole = trainer('whole')
    whole.run()
    trainer('parts').run(2)
    again = trainer('parts')
    again.run()
    assert_equal(again._step.state_dict(), whole._step.state_dict())


def assert_equal(one: Any, other: Any) -> None:
    """Assert that two states are the same to the bit."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            assert_equal(one[name], other[name])
    else:
        assert one == other


@pytest.mark.slow
def test_eight_frames_are_learnt_by_heart(
    record_property: Callable[[str, object], None]
) -> None:
    """To a mask IoU of 0.95."""
    reached = overfit(minutes=15, backbone=None)
    record_property('iterations, mask IoU', f'{reached["iterations"]}, {reached["mask_iou"]:.3f}')
    assert reached['mask_iou'] >= 0.95


def test_half_precision_needs_a_gpu() -> None:
    with pytest.raises(TrainingError, match='CUDA'):
        MSTS_FAMILY.training.check(small_config(), 'bfloat16', CPU)


@pytest.mark.parametrize('options', [{'frames': 0}, {'discriminator': -1.0}])
def test_wrong_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        LossConfig(**options)
