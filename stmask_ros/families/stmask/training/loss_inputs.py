# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What the loss takes: dense predictions, and its options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from torch import Tensor

from stmask_ros.families.stmask.training.targets import MatchingRules
from stmask_ros.layers.boxes import RELEASED_VARIANCES

# Boxes [N, 4] of first images and the pair of each, int64 [N] -> box deltas [N, 4] and
# coefficient deltas [N, prototypes], as STMask.propagate.
Propagate = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


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
    an image whose masks are compared, and of a pair that temporal fusion carries, drawn by
    PyTorch's generator where there are more; None for all. dice: how many times the Dice loss is
    added to the cross-entropy of each mask. variances, mask_activation: see STMaskConfig.
    tuned_detector: of a head of distances, whether it learns boxes and classes too, see
    detection_losses, from a start that has the same classes (TrainingError of one that has
    none); else it keeps them, and all that they are made of. teacher: an ONNX file, see Teacher,
    whose predictions a tuned detector learns (ValueError without tuned_detector).
    reference_behaviour: compute what the released code does. Then matching is
    classification-aware; all masks are compared; the weights of the classification are in another
    order than its losses; the centerness pulls at the boxes; a mask is cropped before it is
    scaled up, and what of the object lies outside the crop counts, as does in temporal fusion's
    loss the exact size of boxes below a pixel; objects of different pairs with the same id are
    taken for one.
    """

    weights: LossWeights = field(default_factory=LossWeights)
    matching: MatchingRules = field(default_factory=MatchingRules)
    negatives_per_positive: int = 3
    max_masks: int | None = 100
    dice: float = 0.0
    variances: tuple[float, float] = RELEASED_VARIANCES
    mask_activation: Literal['tanh', 'none'] = 'tanh'
    tuned_detector: bool = False
    teacher: Path | None = None
    reference_behaviour: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a dice out of range, and for a teacher of whom nothing learns."""
        if self.teacher is not None and not self.tuned_detector:
            raise ValueError('teacher: expected tuned_detector: true; else nothing learns from it')
        if not self.dice >= 0:
            raise ValueError(f'dice: expected 0 or more, got {self.dice}')
        if self.dice and self.reference_behaviour:
            raise ValueError(f'dice: expected 0 with reference_behaviour, got {self.dice}')

    @property
    def rules(self) -> MatchingRules:
        """The rules of matching that hold."""
        if not self.reference_behaviour:
            return self.matching
        return replace(self.matching, classification_aware=True)
