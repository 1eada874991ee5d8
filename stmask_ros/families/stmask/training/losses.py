# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What training minimises: a pure function of dense predictions and targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import distance_box_iou_loss

from stmask_ros.families.stmask.training.loss_inputs import (
    DensePredictions,
    LossConfig,
    LossWeights,
)
from stmask_ros.families.stmask.training.mask_losses import draw, enlarged, mask_loss
from stmask_ros.families.stmask.training.targets import FrameTargets, Positives, assign
from stmask_ros.families.stmask.training.temporal_losses import shift_losses
from stmask_ros.layers.boxes import decode

__all__ = [
    'DensePredictions', 'LossConfig', 'LossWeights', 'Losses', 'multibox_loss', 'track_loss',
]

# How much larger than the predicted box the window is in which a mask is compared.
MASK_ENLARGEMENT = 1.2
# The classification counts positives once and three negatives for each.
CLASSIFICATION_SHARE = 4
# What a pair of embeddings cannot fall below, before its logarithm.
LEAST_LIKENESS = 1e-10


@dataclass(frozen=True)
class Losses:
    """
    The terms, scalars with their weights in.

    Means over images, but for track, a mean over pairs of anchors however many images there are,
    and the shifts, means over pairs of images. box: 1 - DIoU. center: of the centerness to the
    DIoU. classification: cross-entropy. mask: binary cross-entropy. track: of pairs of
    embeddings. box_shift, mask_shift: of temporal fusion.
    """

    box: Tensor
    center: Tensor
    classification: Tensor
    mask: Tensor
    track: Tensor
    box_shift: Tensor
    mask_shift: Tensor

    def terms(self) -> dict[str, Tensor]:
        """Return the terms by name."""
        return {term.name: getattr(self, term.name) for term in fields(self)}

    @property
    def total(self) -> Tensor:
        """The sum of the terms."""
        return torch.stack(list(self.terms().values())).sum()


def multibox_loss(
    predictions: DensePredictions, targets: Sequence[FrameTargets],
    config: LossConfig | None = None,
) -> Losses:
    """
    Return all losses of a batch of pairs (specification, section 13).

    targets: one an image, in the order of the predictions. Terms that have nothing to learn from
    are zero, and still part of the graph.
    """
    config = config or LossConfig()
    assignments = [
        assign(target, predictions.priors, logits, config.rules)
        for target, logits in zip(targets, predictions.class_logits, strict=True)
    ]
    positives = Positives.of(targets, assignments)
    labels = torch.stack([assignment.labels for assignment in assignments])
    rows = (positives.frames, positives.anchors)
    boxes = decode(
        predictions.box_deltas[rows], predictions.priors[positives.anchors], config.variances
    )
    distance = distance_box_iou_loss(boxes, positives.boxes, eps=1e-9)
    box_shift, mask_shift = shift_losses(predictions, positives, boxes.detach(), targets, config)
    weights, images = config.weights, len(targets)
    return Losses(
        box=weights.box * (positives.weights * distance).sum() / images,
        center=weights.center / images * center_loss(
            predictions, positives, 1 - distance, config.reference_behaviour
        ),
        classification=weights.classification / images * classification_loss(
            predictions.class_logits, labels, positives.weights, config
        ),
        mask=weights.mask / images * masks_loss(
            predictions, positives, boxes.detach(), targets, config
        ),
        track=weights.track * track_loss(
            predictions.embeddings[rows], identities(positives, config.reference_behaviour),
            positives.weights,
        ),
        box_shift=weights.box_shift * box_shift,
        mask_shift=weights.mask_shift * mask_shift,
    )


def center_loss(
    predictions: DensePredictions, positives: Positives, distance_iou: Tensor,
    reference_behaviour: bool = False,
) -> Tensor:
    """Return how far the centerness is from the DIoU [P] that it estimates; 0 without one."""
    if predictions.centerness is None:
        return predictions.box_deltas.new_zeros(())
    if not reference_behaviour:
        distance_iou = distance_iou.detach()
    centerness = predictions.centerness[positives.frames, positives.anchors]
    loss = F.smooth_l1_loss(centerness, distance_iou, reduction='none')
    return (positives.weights * loss).sum()


def classification_loss(
    logits: Tensor, labels: Tensor, weights: Tensor, config: LossConfig
) -> Tensor:
    """
    Return the cross-entropy of the positives and of the hardest negatives of the batch.

    logits: [B, A, 1 + classes]. labels: int64 [B, A], see Assignment. weights: [P], of the
    positives in the order of the anchors; a negative weighs as much as the mean positive.
    """
    logits, labels = logits.flatten(0, 1), labels.flatten()
    negative = (labels == 0).nonzero().squeeze(1)
    count = min(config.negatives_per_positive * len(weights), len(negative))
    hardness = (logits.logsumexp(1) - logits[:, 0]).detach()
    hardest = negative[hardness[negative].topk(count).indices]
    mean = weights.sum() / max(len(weights), 1)
    weight = logits.new_zeros(len(labels))
    weight[labels > 0] = weights
    weight[hardest] = mean
    chosen = labels > 0
    chosen[hardest] = True
    loss = F.cross_entropy(logits[chosen], labels[chosen], reduction='none')
    weight = weight[chosen]
    if config.reference_behaviour:
        weight = torch.cat((weights, mean.expand(count)))
    return (weight * loss).sum() / CLASSIFICATION_SHARE


def masks_loss(
    predictions: DensePredictions, positives: Positives, boxes: Tensor,
    targets: Sequence[FrameTargets], config: LossConfig,
) -> Tensor:
    """Return the loss of the positives' masks around their predicted boxes [P, 4]."""
    windows = enlarged(boxes, MASK_ENLARGEMENT)
    loss = predictions.prototypes.sum() * 0
    for frame, target in enumerate(targets):
        rows = (positives.frames == frame).nonzero().squeeze(1)
        drawn = draw(rows, config)
        each = mask_loss(
            predictions.prototypes[frame],
            predictions.mask_coefficients[frame, positives.anchors[drawn]],
            windows[drawn], target.masks[positives.objects[drawn]], config.mask_activation,
            config.reference_behaviour, config.dice, outlines=boxes[drawn],
        )
        loss = loss + (positives.weights[drawn] * each).sum() * (len(rows) / max(len(drawn), 1))
    return loss


def identities(positives: Positives, reference_behaviour: bool = False) -> Tensor:
    """Return int64 [P], equal for the same object and different for others in the batch."""
    if reference_behaviour or len(positives.ids) == 0:
        return positives.ids
    return positives.ids + (positives.frames // 2) * (positives.ids.max() + 1)


def track_loss(embeddings: Tensor, identity: Tensor, weights: Tensor) -> Tensor:
    """
    Return how unlike embeddings [P, size] of the same object are, and how like other objects'.

    identity: int64 [P]. weights: [P]; a pair weighs the product, and the mean is taken.
    """
    alike = (1 + embeddings @ embeddings.t()) / 2
    same = identity[:, None] == identity
    loss = -torch.where(same, alike, 1 - alike).clamp(min=LEAST_LIKENESS).log()
    weight = torch.triu(weights[:, None] * weights, diagonal=1)
    return (weight * loss).sum() / weight.sum().clamp(min=1e-12)
