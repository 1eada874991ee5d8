# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What learns: outputs of new classes, linear in features that stay, and their masks."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmask_ros.families.class_teaching import TaughtClass
from stmask_ros.families.stmask.distance_head import LEVELS, RIVAL_SCORE, DistanceHead
from stmask_ros.families.stmask.network import STMask
from stmask_ros.families.stmask.preprocess import STRIDE
from stmask_ros.families.stmask.teaching.growth import Outputs, grown
from stmask_ros.families.stmask.teaching.lessons import Lesson
from stmask_ros.families.stmask.teaching.memory import load_memory
from stmask_ros.families.stmask.training.losses import MASK_ENLARGEMENT
from stmask_ros.families.stmask.training.mask_losses import enlarged, mask_loss

_LOGGER = logging.getLogger(__name__)

# Logits at the start: hardly any cell shows a new class.
FIRST_LOGIT = -4.0
# Of the terms.
MASK_WEIGHT, DICE = 0.5, 2.0
OTHERS_WEIGHT = 2.0
# Of the cells of other pictures, the last are not learned from: of them, few may be taken for a
# class, with a score that starts a track.
CHECKED, FALSE_SHARE, FALSE_SCORE = 0.2, 0.001, 0.2
# Objects of a lesson whose masks are compared.
MOST_MASKS = 6
# Of the cells on labelled objects: where fewer have the score of a class before, it is a rival.
LOOKS_LIKE = 0.02


class HeadLearner(nn.Module):
    """Outputs for new classes at all levels, and their branch of mask coefficients."""

    def __init__(
        self, network: STMask, classes: Sequence[TaughtClass], device: torch.device, seed: int
    ) -> None:
        """Start without knowledge of the new classes, and with the masks of the network."""
        super().__init__()
        assert isinstance(network.head, DistanceHead)
        outputs = Outputs.of(network.config, classes)
        self._after = [grown(network, outputs)]  # in a list: it is no part of what learns
        self._outputs = outputs
        self._has_masks = outputs.has_masks_to_learn(network.config)
        self._activation = network.config.mask_activation
        learned = [number for number, each in enumerate(classes, 1) if each.learned]
        self._labels = torch.tensor(learned, device=device)
        self._levels = _cells_of_levels(network)
        self._others, self._checked = _others(network, device)
        self._before = _last_layers(network, device)
        channels, count = network.config.channels, len(learned)
        self.weight = nn.Parameter(torch.zeros(LEVELS, channels, count, device=device))
        self.bias = nn.Parameter(torch.full((LEVELS, 1, count), FIRST_LOGIT, device=device))
        self.mask_layer = copy.deepcopy(network.head.mask_layer).to(device)
        self.mask_layer.train().requires_grad_()
        # Of cells on objects of each class: how often outputs before were sure, and the cells.
        self.alike: Tensor
        self.register_buffer('alike', torch.zeros(
            count, sum(network.config.outputs_of_classes), device=device))
        self.cells: Tensor
        self.register_buffer('cells', torch.zeros(count, 1, device=device))
        torch.manual_seed(seed)

    def losses(self, lessons: Sequence[Lesson]) -> Mapping[str, Tensor]:
        """See stmask_ros.families.class_teaching.Learner."""
        device = self.weight.device
        return {
            'classes': self._class_loss(lessons, device),
            'masks': MASK_WEIGHT * torch.stack([
                self._mask_loss(lesson, device) for lesson in lessons
            ]).mean(),
        }

    def _class_loss(self, lessons: Sequence[Lesson], device: torch.device) -> Tensor:
        cells = torch.stack([lesson.cells for lesson in lessons]).to(device).float()
        labels = torch.stack([lesson.labels for lesson in lessons]).to(device)
        quality = torch.stack([lesson.quality for lesson in lessons]).to(device).float()
        known = torch.stack([lesson.known for lesson in lessons]).to(device).float()
        self._notice(cells, labels)
        logits = torch.cat(self._logits(cells.split(self._levels, 1)), 1)
        target = (labels.unsqueeze(2) == self._labels) * quality.unsqueeze(2)
        # Quality Focal Loss (Generalized Focal Loss, equation 2).
        loss = F.binary_cross_entropy_with_logits(logits, target, reduction='none')
        weight = (target - logits.sigmoid()).square()
        # Not focal on what the model before is sure of: it is to stay that.
        weight = weight.maximum((known * (labels == 0)).unsqueeze(2))
        loss = loss * weight * (labels >= 0).unsqueeze(2)
        return (loss.sum() + self._loss_of_others()) / target.sum().clamp(min=1)

    @torch.no_grad()
    def _notice(self, cells: Tensor, labels: Tensor) -> None:
        """Count which classes before the labelled objects look like."""
        before = torch.cat([
            level @ weight + bias for level, (weight, bias) in zip(
                cells.split(self._levels, 1), self._before, strict=True)], 1)
        is_sure = (before.sigmoid() > RIVAL_SCORE).float().flatten(0, 1)
        is_of = (labels.flatten() == self._labels.unsqueeze(1)).float()
        self.alike += is_of @ is_sure
        self.cells += is_of.sum(1, keepdim=True)

    def _rivals(self) -> Tensor:
        """Return which kept outputs keep each learned one away, bool [outputs, learned]."""
        is_rival = self.alike < LOOKS_LIKE * self.cells
        sources = torch.tensor(self._outputs.sources, device=is_rival.device)
        classes = torch.tensor(self._outputs.classes, device=is_rival.device)
        others = classes.unsqueeze(1) != classes[self._outputs.learned]
        return others & (is_rival[:, sources].t() & (sources >= 0).unsqueeze(1))

    def _loss_of_others(self) -> Tensor:
        # Of cells that the model before has seen: none shows a new class. Not focal: hundreds
        # that are only weakly taken for one are what other pictures are full of.
        return OTHERS_WEIGHT * F.softplus(torch.cat(self._logits(self._others))).sum()

    def _logits(self, levels: Sequence[Tensor]) -> list[Tensor]:
        return [
            level.float() @ weight + bias
            for level, weight, bias in zip(levels, self.weight, self.bias, strict=True)]

    def _mask_loss(self, lesson: Lesson, device: torch.device) -> Tensor:
        rows = torch.randperm(len(lesson.boxes))[:MOST_MASKS]
        if len(rows) == 0:
            return self.weight.new_zeros(())
        boxes = lesson.boxes[rows].to(device).float()
        coefficients = self.mask_layer(lesson.regions[rows].to(device).float())
        return mask_loss(
            lesson.prototypes.to(device).float(), coefficients,
            enlarged(boxes, MASK_ENLARGEMENT), lesson.masks[rows].to(device), self._activation,
            dice=DICE, outlines=boxes,
        ).mean()

    def _caution(self) -> Tensor:
        """Return what is taken off the logits of each class [classes], not negative."""
        logits = torch.cat(self._logits(self._checked))
        if len(logits) == 0:
            return logits.new_zeros(logits.shape[1])
        rank = len(logits) - int(FALSE_SHARE * len(logits))
        limit = torch.tensor(FALSE_SCORE).logit().item()
        return (logits.kthvalue(rank, 0).values - limit).clamp(min=0)

    def finish(self) -> STMask:
        """See stmask_ros.families.class_teaching.Learner."""
        (after,) = self._after
        assert isinstance(after.head, DistanceHead)
        with torch.no_grad():
            caution = self._caution()
            for level, weight, bias in zip(
                after.head.levels, self.weight, self.bias, strict=True
            ):
                assert isinstance(level, nn.Sequential)
                last = level[-1]
                assert isinstance(last, nn.Conv2d)
                assert last.bias is not None
                last.weight[self._outputs.learned] = weight.t()[..., None, None].to(last.weight)
                last.bias[self._outputs.learned] = (bias[0] - caution).to(last.bias)
            assert after.head.rivals is not None
            after.head.rivals[:, self._outputs.learned] = self._rivals().to(after.head.rivals)
            if self._has_masks:
                after.head.taught_mask_layers[-1].load_state_dict(self.mask_layer.state_dict())
        return after


def _others(network: STMask, device: torch.device) -> tuple[list[Tensor], list[Tensor]]:
    """Return cells [N, channels] of each level, without new classes: to learn from, to check."""
    memory = load_memory(network)
    if memory is None:
        _LOGGER.warning(
            'nothing is known of what these features have seen: a new class may be found in '
            'pictures that are unlike the labelled ones')
        memory = [torch.zeros(0, network.config.channels)] * LEVELS
    levels = [cells.to(device) for cells in memory]
    ends = [round(len(cells) * (1 - CHECKED)) for cells in levels]
    return (
        [cells[:end] for cells, end in zip(levels, ends, strict=True)],
        [cells[end:] for cells, end in zip(levels, ends, strict=True)],
    )


def _last_layers(network: STMask, device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """Return weight [channels, outputs] and bias [outputs] of the classes, of each level."""
    count = sum(network.config.outputs_of_classes)
    tensors = network.state_dict()
    names = [f'prediction_layers.0.levels.{level}.2' for level in range(LEVELS)]
    return [
        (tensors[f'{name}.weight'][:count, :, 0, 0].t().to(device).float(),
         tensors[f'{name}.bias'][:count].to(device).float()) for name in names]


def _cells_of_levels(network: STMask) -> list[int]:
    config = network.config
    sides = [
        [-(-side // STRIDE) * STRIDE // stride for side in (
            config.input_height, config.input_width)]
        for stride in (8, 16, 32)
    ]
    return [height * width for height, width in sides]
