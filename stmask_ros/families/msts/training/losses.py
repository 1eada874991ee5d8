# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The losses of all decoder layers (specification, section 9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from stmask_ros.families.msts.decoder import LayerOutput
from stmask_ros.families.msts.grid import Grid
from stmask_ros.families.msts.masks import mask_logits
from stmask_ros.families.msts.network import MSTS
from stmask_ros.families.msts.selection import MASK_STRIDE
from stmask_ros.families.msts.training.matching import (
    Matches,
    MatchingCosts,
    generalised_distance,
    match,
)
from stmask_ros.families.msts.training.targets import ClipTargets


@dataclass(frozen=True)
class LossWeights:
    """Factors on the terms, in every layer."""

    classification: float = 2.0
    box: float = 5.0
    overlap: float = 2.0
    mask: float = 2.0
    dice: float = 5.0


@dataclass(frozen=True)
class LossConfig:
    """
    The options of the losses.

    frames: of a clip, T. weights: of the terms. matching: of the pairs. absent_boxes: whether the
    boxes of frames where an object is absent, which are zeros, are learnt, as released.
    discriminator: weight of its term (section 11, C, proposes 0.05); 0 for none.
    discriminator_warm_up: iterations in which this weight grows from 0.
    """

    frames: int = 5
    weights: LossWeights = field(default_factory=LossWeights)
    matching: MatchingCosts = field(default_factory=MatchingCosts)
    absent_boxes: bool = True
    discriminator: float = 0.0
    discriminator_warm_up: int = 1000

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        for name, lowest in (('frames', 1), ('discriminator', 0), ('discriminator_warm_up', 1)):
            if not getattr(self, name) >= lowest:
                raise ValueError(f'{name}: expected {lowest} or more, got {getattr(self, name)}')


@dataclass(frozen=True)
class LayerLosses:
    """The terms of a decoder layer, without their weights."""

    classification: Tensor
    box: Tensor
    overlap: Tensor
    mask: Tensor
    dice: Tensor

    def weighted(self, weights: LossWeights) -> Tensor:
        """Return the sum of the terms times their weights."""
        return torch.stack([
            getattr(self, term.name) * getattr(weights, term.name) for term in fields(self)
        ]).sum()


@dataclass(frozen=True)
class ClipPredictions:
    """
    What a decoder layer says of B clips: logits [B, Q, K + 2], boxes [B, T, Q, 4].

    masks: of each clip, those of the matched queries in the order of its objects' pairs,
    [n, T, h, w] at stride 4.
    """

    logits: Tensor
    boxes: Tensor
    masks: Sequence[Tensor]


def layer_losses(
    predictions: ClipPredictions, targets: Sequence[ClipTargets], matches: Sequence[Matches],
    count: float, absent_boxes: bool = True,
) -> LayerLosses:
    """
    Return the losses of a layer.

    count: objects of the batch, by which all is divided; the mean over all workers, at least 1.
    absent_boxes: see LossConfig.
    """
    wanted = torch.zeros_like(predictions.logits)
    for clip, (target, pairs) in enumerate(zip(targets, matches, strict=True)):
        wanted[clip, pairs.queries, target.labels[pairs.objects]] = 1
    focal = sigmoid_focal_loss(predictions.logits, wanted, reduction='sum')
    paired = list(zip(targets, matches, strict=True))
    boxes = torch.cat([
        predictions.boxes[clip, :, pairs.queries].transpose(0, 1)
        for clip, pairs in enumerate(matches)
    ])
    true_boxes = torch.cat([target.boxes[pairs.objects] for target, pairs in paired])
    true_masks = [target.masks[pairs.objects] for target, pairs in paired]
    share = torch.ones_like(boxes[..., 0])
    if not absent_boxes:
        present = torch.cat([masks.flatten(2).any(2) for masks in true_masks])
        share = present / present.sum(1, keepdim=True).clamp(min=1) * boxes.shape[1]
    share = share / boxes.shape[1]
    masks = [
        _mask_terms(logits, masks) for logits, masks in zip(
            predictions.masks, true_masks, strict=True)
    ]
    pixel, dice = torch.stack(masks).sum(0) / count
    return LayerLosses(
        classification=focal / count,
        box=((boxes - true_boxes).abs().sum(-1) * share).sum() / count,
        overlap=(generalised_distance(boxes, true_boxes) * share).sum() / count,
        mask=pixel, dice=dice,
    )


def _mask_terms(logits: Tensor, masks: Tensor) -> Tensor:
    # Focal and Dice terms [2] of a clip, summed over its objects.
    half = MASK_STRIDE // 2
    wanted = masks[..., half::MASK_STRIDE, half::MASK_STRIDE].to(logits.dtype).flatten(1)
    logits = logits.flatten(1)
    pixel = sigmoid_focal_loss(logits, wanted, reduction='none').mean(1).sum()
    soft = logits.sigmoid()
    shared, both = (soft * wanted).sum(1), soft.sum(1) + wanted.sum(1)
    dice = (1 - (2 * shared + 1) / (both + 1)).sum()
    return torch.stack((pixel, dice))


@dataclass(frozen=True)
class Losses:
    """
    The losses of the decoder's layers, first to last.

    adversarial: what the discriminator adds, with its weight in; None without one.
    """

    layers: Sequence[LayerLosses]
    weights: LossWeights
    adversarial: Tensor | None = None

    @property
    def total(self) -> Tensor:
        """The weighted sum of all terms of all layers."""
        total = torch.stack([layer.weighted(self.weights) for layer in self.layers]).sum()
        return total if self.adversarial is None else total + self.adversarial

    def terms(self) -> dict[str, Tensor]:
        """Return the weighted terms of the last layer, and the sum of those of the others."""
        last = self.layers[-1]
        terms = {
            term.name: getattr(last, term.name) * getattr(self.weights, term.name)
            for term in fields(last)
        }
        if len(self.layers) > 1:
            terms['earlier_layers'] = torch.stack([
                layer.weighted(self.weights) for layer in self.layers[:-1]
            ]).sum()
        if self.adversarial is not None:
            terms['adversarial'] = self.adversarial
        return terms


@dataclass(frozen=True)
class ClipPass:
    """
    What the network says of B clips in training.

    grid: of the clips. memory: [B, T, S, channels]. predictions, matches: of each layer.
    """

    grid: Grid
    memory: Tensor
    predictions: Sequence[ClipPredictions]
    matches: Sequence[Sequence[Matches]]

    @classmethod
    def of(
        cls, network: MSTS, images: Tensor, valid: Tensor, targets: Sequence[ClipTargets],
        costs: MatchingCosts | None = None,
    ) -> ClipPass:
        """
        Run the network on clips, and match its queries to their objects after every layer.

        images: normalised, [B, T, 3, H, W], padded with zeros at the right and below. valid: bool
        [B, H, W], pixels that are no padding.
        """
        grid, shape = Grid.of(valid, network.config.channels), images.shape[:2]
        memory = network.memory(network.tokens(images.flatten(0, 1)).unflatten(0, shape), grid)
        features = network.mask_features(memory.flatten(0, 1), grid).unflatten(0, shape)
        predictions, matches = [], []
        for output in network.decoder(memory, grid):
            pairs = [
                match(output.logits[clip], output.boxes[clip], target, costs)
                for clip, target in enumerate(targets)
            ]
            masks = [
                matched_masks(network, output, clip, its, features[clip], grid)
                for clip, its in enumerate(pairs)
            ]
            predictions.append(ClipPredictions(output.logits, output.boxes, masks))
            matches.append(pairs)
        return cls(grid, memory, predictions, matches)

    def losses(
        self, targets: Sequence[ClipTargets], config: LossConfig, count: float
    ) -> list[LayerLosses]:
        """Return the losses of the layers; count: see layer_losses()."""
        return [
            layer_losses(predictions, targets, pairs, count, config.absent_boxes)
            for predictions, pairs in zip(self.predictions, self.matches, strict=True)
        ]


def clip_losses(
    network: MSTS, images: Tensor, valid: Tensor, targets: Sequence[ClipTargets],
    config: LossConfig | None = None,
) -> Losses:
    """Run the network on clips, see ClipPass.of(), and return all losses."""
    config = config or LossConfig()
    clips = ClipPass.of(network, images, valid, targets, config.matching)
    count = max(1.0, float(sum(map(len, targets))))
    return Losses(clips.losses(targets, config, count), config.weights)


def matched_masks(
    network: MSTS, output: LayerOutput, clip: int, pairs: Matches, features: Tensor, grid: Grid
) -> Tensor:
    """Return the mask logits of a clip's matched queries, [n, T, h, w]."""
    parameters = network.mask_parameters(output, clip, pairs.queries)
    centers = network.mask_centers(output, clip, pairs.queries, grid)
    return mask_logits(features, parameters, centers)
