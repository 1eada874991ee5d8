# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Single-frame detections: thresholds and non-maximum suppression (specification, section 8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from stmask_ros.families.stmask.distance_head import RIVAL_SCORE
from stmask_ros.families.stmask.heads import InstanceOutput
from stmask_ros.families.stmask.network import Predictions
from stmask_ros.layers.boxes import box_iou
from stmask_ros.layers.rows import Table, pick

NmsMode = Literal['cross_class', 'per_class', 'greedy', 'best_class']
TOP_CANDIDATES = 200
MAX_DETECTIONS = 100
# Two boxes that overlap more are one object, whatever their classes: see best_class_nms.
SAME_OBJECT_IOU = 0.9
# Longer chains of boxes that suppress each other do not occur among 200.
SUPPRESSION_ROUNDS = 12


@dataclass(frozen=True)
class Candidates(Table):
    """
    N boxes before suppression.

    strong: bool [N], above the threshold. anchors: int64 [N], where in the dense predictions.
    boxes: [N, 4], fractions of the padded input. probabilities: [N, classes] of the foreground.
    centerness: [N]. All with a B in front for a batch, see Table.
    """

    mark: ClassVar[str] = 'strong'
    strong: Tensor
    anchors: Tensor
    boxes: Tensor
    probabilities: Tensor
    centerness: Tensor


@dataclass(frozen=True)
class Survivors(Table):
    """
    N boxes that suppression left, by falling score.

    boxes: [N, 4], fractions of the padded input, may reach outside. scores: [N], at most 1.
    classes: int64 [N], from 1. anchors: int64 [N], where in the dense predictions.
    All with a B in front for a batch, see Table.
    """

    mark: ClassVar[str] = 'classes'
    boxes: Tensor
    scores: Tensor
    classes: Tensor
    anchors: Tensor


@dataclass(frozen=True)
class Detections(Table):
    """
    N detections, by falling score.

    boxes, scores, classes: as of Survivors.
    class_scores: [N, classes], probability of each class of the foreground [0, 1].
    coefficients: [N, prototypes], before their activation. embeddings: [N, size], of length 1.
    """

    mark: ClassVar[str] = 'classes'
    boxes: Tensor
    scores: Tensor
    classes: Tensor
    class_scores: Tensor
    coefficients: Tensor
    embeddings: Tensor

    @classmethod
    def of(
        cls, survivors: Survivors, class_scores: Tensor, instances: InstanceOutput
    ) -> Detections:
        """Return the survivors with what the network says of their anchors."""
        return cls(
            survivors.boxes, survivors.scores, survivors.classes, class_scores,
            instances.mask_coefficients, instances.embeddings,
        )


def suppress(
    predictions: Predictions, frame: int | slice, score_threshold: float, nms_threshold: float,
    mode: NmsMode = 'cross_class',
) -> Survivors:
    """
    Return what thresholds and suppression leave of a frame, or of several as a batch.

    frame: of the batch; a slice for tables of a batch, see Table. 'greedy' takes one frame only.
    score_threshold: on the class probability alone, before the centerness is multiplied in.
    """
    boxes = predictions.boxes[frame]
    probabilities = predictions.head.probabilities(frame)
    strong = probabilities.amax(-1) > score_threshold
    anchors = torch.arange(boxes.shape[-2], device=boxes.device).expand_as(strong)
    candidates = Candidates(
        strong, anchors, boxes, probabilities, predictions.head.centerness[frame]
    )
    if strong.dim() == 1:
        candidates = candidates.only(strong)
    if mode == 'best_class':
        survivors = best_class_nms(candidates, nms_threshold, predictions.head.rivals)
    else:
        survivors = _NMS[mode](candidates, nms_threshold, score_threshold)
    return survivors.only(survivors.valid)


def cross_class_nms(
    candidates: Candidates, threshold: float, score_threshold: float = 0.0
) -> Survivors:
    """
    Fast NMS over all classes at once: each box keeps its best class only.

    A suppressed box still suppresses others. score_threshold is not used in this mode.
    Returns the boxes considered, by falling score; those suppressed are not valid.
    """
    best, classes = candidates.probabilities.max(-1)
    scores, order = _strongest(best * candidates.centerness, candidates.valid)
    candidates = candidates.rows(order)
    keep = _fast_nms(candidates.boxes, threshold) & candidates.valid
    classes = pick(classes, order) + 1
    return Survivors(candidates.boxes, scores, classes * keep, candidates.anchors)


def per_class_nms(
    candidates: Candidates, threshold: float, score_threshold: float
) -> Survivors:
    """
    Fast NMS within each class: a box may be returned under several classes.

    As cross_class_nms; a score must be above score_threshold, and 100 are returned at most.
    """
    by_class = (candidates.probabilities * candidates.centerness.unsqueeze(-1)).mT
    scores, order = _strongest(by_class, candidates.valid.unsqueeze(-2))
    chosen = candidates.rows(order.flatten(-2))
    keep = _fast_nms(chosen.boxes.unflatten(-2, order.shape[-2:]), threshold).flatten(-2)
    keep &= chosen.valid
    keep &= scores.flatten(-2) > score_threshold
    classes = torch.arange(1, by_class.shape[-2] + 1, device=scores.device)
    classes = classes.unsqueeze(1).expand_as(scores).flatten(-2) * keep
    survivors = Survivors(chosen.boxes, scores.flatten(-2), classes, chosen.anchors)
    _, by_score = _strongest(survivors.scores, keep)
    return survivors.rows(by_score[..., :MAX_DETECTIONS])


def greedy_nms(
    candidates: Candidates, threshold: float, score_threshold: float
) -> Survivors:
    """
    Classic NMS within each class: a suppressed box no longer suppresses others.

    As per_class_nms; boxes count as 640 pixels wide and one pixel larger, as in the reference.
    """
    rows, classes = (candidates.probabilities > score_threshold).nonzero().unbind(1)
    chosen = candidates.rows(rows)
    scores = (candidates.probabilities * candidates.centerness.unsqueeze(1))[rows, classes]
    pixels = chosen.boxes * 640 + chosen.boxes.new_tensor((0, 0, 1, 1))
    from torchvision.ops import batched_nms  # slow to import

    kept = batched_nms(pixels, scores, classes, threshold)[:MAX_DETECTIONS]
    return Survivors(chosen.boxes, scores, classes + 1, chosen.anchors).rows(kept)


def best_class_nms(
    candidates: Candidates, threshold: float, rivals: Tensor | None = None
) -> Survivors:
    """
    Classic NMS within each class, where each box keeps its best class only.

    A box also goes for a stronger one of another class that covers it (SAME_OBJECT_IOU); from
    RIVAL_SCORE on not for one of a class that it is a rival of, see HeadOutput. Returns as
    cross_class_nms.
    """
    best, classes = candidates.probabilities.max(-1)
    scores, order = _strongest(best * candidates.centerness, candidates.valid)
    candidates, classes = candidates.rows(order), pick(classes, order)
    overlap = box_iou(candidates.boxes, candidates.boxes).triu(diagonal=1)
    alike = classes.unsqueeze(-1) == classes.unsqueeze(-2)
    is_same = overlap > SAME_OBJECT_IOU
    if rivals is not None:
        stays = rivals[classes.unsqueeze(-2), classes.unsqueeze(-1)]
        is_same &= ~(stays & (scores > RIVAL_SCORE).unsqueeze(-2))
    suppresses = ((overlap > threshold) & alike) | is_same
    keep = candidates.valid
    for _ in range(SUPPRESSION_ROUNDS):
        suppressed = (suppresses & keep.unsqueeze(-1)).any(-2)
        keep = candidates.valid & ~suppressed
    return Survivors(candidates.boxes, scores, (classes + 1) * keep, candidates.anchors)


_NMS = {
    'cross_class': cross_class_nms, 'per_class': per_class_nms, 'greedy': greedy_nms,
}


def _strongest(scores: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    # The best of the valid scores and where they are, by falling score, equal ones in order.
    ranked = scores.masked_fill(~valid, -torch.inf).sort(
        stable=True, dim=-1, descending=True
    )
    return ranked.values[..., :TOP_CANDIDATES], ranked.indices[..., :TOP_CANDIDATES]


def _fast_nms(boxes: Tensor, threshold: float) -> Tensor:
    # [..., N, 4] by falling score -> bool [..., N]
    if boxes.shape[-2] == 0:
        return boxes.new_zeros(boxes.shape[:-1], dtype=torch.bool)
    return box_iou(boxes, boxes).triu(diagonal=1).amax(-2) <= threshold
