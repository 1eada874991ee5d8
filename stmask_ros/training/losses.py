"""What training minimises: a pure function of dense predictions and targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import distance_box_iou_loss

from stmask_ros.network.boxes import RELEASED_VARIANCES, decode
from stmask_ros.training.mask_losses import enlarged, mask_loss
from stmask_ros.training.targets import FrameTargets, MatchingRules, Positives, assign
from stmask_ros.training.temporal_losses import Propagate, shift_losses

# How much larger than the predicted box the window is in which a mask is compared.
MASK_ENLARGEMENT = 1.2
# The classification counts positives once and three negatives for each.
CLASSIFICATION_SHARE = 4


@dataclass(frozen=True)
class DensePredictions:
    """
    What the network says of a batch of pairs: first and second image of pair 0, of pair 1, ...

    box_deltas: [B, A, 4]. class_logits: [B, A, 1 + classes]. centerness: [B, A] in (-1, 1), or
    None for a head without. mask_coefficients: [B, A, prototypes], before their activation.
    embeddings: [B, A, size], of length 1. prototypes: [B, h, w, prototypes]. priors: [A, 4].
    propagate: temporal fusion from the first to the second image of each pair, or None.
    """

    box_deltas: Tensor
    class_logits: Tensor
    centerness: Tensor | None
    mask_coefficients: Tensor
    embeddings: Tensor
    prototypes: Tensor
    priors: Tensor
    propagate: Propagate | None = None


@dataclass(frozen=True)
class LossWeights:
    """Factors on the terms."""

    box: float = 5.0
    center: float = 20.0
    classification: float = 6.125
    mask: float = 6.125
    track: float = 5.0
    box_shift: float = 5.0
    mask_shift: float = 6.125


@dataclass(frozen=True)
class LossConfig:
    """
    The options of the loss.

    weights: of the terms. matching: see MatchingRules. negatives_per_positive: background
    anchors that count in the classification, the hardest of the batch. max_masks: positives of
    an image, drawn at random, whose masks are compared; None for all. variances,
    mask_activation: see STMaskConfig.
    reference_behaviour: compute what the released code does. Then matching is
    classification-aware; the weights of the classification are in another order than its
    losses; the centerness pulls at the boxes; a mask is cropped before it is scaled up, and what
    of the object lies outside the crop counts, as does the exact size of boxes below a pixel;
    objects of different pairs with the same id are taken for one.
    """

    weights: LossWeights = field(default_factory=LossWeights)
    matching: MatchingRules = field(default_factory=MatchingRules)
    negatives_per_positive: int = 3
    max_masks: int | None = None
    variances: tuple[float, float] = RELEASED_VARIANCES
    mask_activation: Literal['tanh', 'none'] = 'tanh'
    reference_behaviour: bool = False

    @property
    def rules(self) -> MatchingRules:
        """The rules of matching that hold."""
        if not self.reference_behaviour:
            return self.matching
        return replace(self.matching, classification_aware=True)


@dataclass(frozen=True)
class Losses:
    """
    The terms, scalars with their weights in.

    box: 1 - DIoU. center: of the centerness to the DIoU. classification: cross-entropy. mask:
    binary cross-entropy. track: of pairs of embeddings. box_shift, mask_shift: of temporal
    fusion.
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
    box_shift, mask_shift = shift_losses(
        predictions.propagate, boxes.detach(), predictions.mask_coefficients[rows].detach(),
        predictions.prototypes.detach(), positives, targets, config.variances,
        config.mask_activation, config.reference_behaviour,
    )
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
        track=weights.track / images * track_loss(
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
        drawn = _draw(rows, config.max_masks)
        each = mask_loss(
            predictions.prototypes[frame],
            predictions.mask_coefficients[frame, positives.anchors[drawn]],
            windows[drawn], target.masks[positives.objects[drawn]], config.mask_activation,
            config.reference_behaviour,
        )
        loss = loss + (positives.weights[drawn] * each).sum() * (len(rows) / max(len(drawn), 1))
    return loss


def _draw(rows: Tensor, most: int | None) -> Tensor:
    if most is None or len(rows) <= most:
        return rows
    return rows[torch.randperm(len(rows))[:most].to(rows.device)]


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
    alike = ((1 + embeddings @ embeddings.t()) / 2).clamp(1e-6, 1 - 1e-6)
    same = identity[:, None] == identity
    loss = torch.where(same, -alike.log(), -(1 - alike).log())
    weight = torch.triu(weights[:, None] * weights, diagonal=1)
    return (weight * loss).sum() / weight.sum().clamp(min=1e-12)
