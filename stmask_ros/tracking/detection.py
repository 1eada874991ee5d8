"""Single-frame detections: thresholds and non-maximum suppression (specification, section 8)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from stmask_ros.network.boxes import box_iou
from stmask_ros.network.heads import InstanceOutput
from stmask_ros.network.stmask import Predictions

NmsMode = Literal['cross_class', 'per_class', 'greedy']
TOP_CANDIDATES = 200
MAX_DETECTIONS = 100


@dataclass(frozen=True)
class Survivors:
    """
    N boxes of one frame that suppression left, by falling score.

    boxes: [N, 4], fractions of the padded input, may reach outside. scores: [N], at most 1.
    classes: int64 [N], from 1. anchors: int64 [N], where in the dense predictions.
    """

    boxes: Tensor
    scores: Tensor
    classes: Tensor
    anchors: Tensor

    def __len__(self) -> int:
        """Return N."""
        return len(self.scores)

    def rows(self, index: Tensor | slice) -> Survivors:
        """Return the rows that a bool or int64 tensor, or a slice, chooses."""
        return Survivors(*(getattr(self, f.name)[index] for f in fields(self)))


@dataclass(frozen=True)
class Detections:
    """
    N detections of one frame, by falling score.

    boxes, scores, classes: as of Survivors.
    coefficients: [N, prototypes], before their activation. embeddings: [N, size], of length 1.
    """

    boxes: Tensor
    scores: Tensor
    classes: Tensor
    coefficients: Tensor
    embeddings: Tensor

    @classmethod
    def of(cls, survivors: Survivors, instances: InstanceOutput) -> Detections:
        """Return the survivors with what the network says of their anchors."""
        return cls(
            survivors.boxes, survivors.scores, survivors.classes,
            instances.mask_coefficients, instances.embeddings,
        )

    def __len__(self) -> int:
        """Return N."""
        return len(self.scores)

    def rows(self, index: Tensor) -> Detections:
        """Return the rows that a bool or int64 tensor chooses."""
        return Detections(*(getattr(self, f.name)[index] for f in fields(self)))


def suppress(
    predictions: Predictions, frame: int, score_threshold: float, nms_threshold: float,
    mode: NmsMode = 'cross_class',
) -> Survivors:
    """
    Return what thresholds and suppression leave of one frame of a batch.

    score_threshold: on the class probability alone, before the centerness is multiplied in.
    """
    head = predictions.head
    probabilities = head.class_logits[frame].softmax(-1)[:, 1:]
    candidates = (probabilities.amax(-1) > score_threshold).nonzero().squeeze(1)
    boxes = predictions.boxes[frame, candidates]
    kept, classes, scores = _NMS[mode](
        boxes, probabilities[candidates], head.centerness[frame, candidates], nms_threshold,
        score_threshold,
    )
    return Survivors(boxes[kept], scores, classes, candidates[kept])


def cross_class_nms(
    boxes: Tensor, probabilities: Tensor, centerness: Tensor, threshold: float,
    score_threshold: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """
    Fast NMS over all classes at once: each box keeps its best class only.

    boxes: [N, 4]; probabilities: [N, classes] of the foreground; centerness: [N].
    A suppressed box still suppresses others. score_threshold is not used in this mode.
    Returns (rows kept, classes from 1, scores), by falling score.
    """
    best, classes = probabilities.max(-1)
    scores, order = (best * centerness).sort(descending=True, stable=True)
    order = order[:TOP_CANDIDATES]
    keep = _fast_nms(boxes[order].unsqueeze(0), threshold)[0]
    kept = order[keep]
    return kept, classes[kept] + 1, scores[:TOP_CANDIDATES][keep]


def per_class_nms(
    boxes: Tensor, probabilities: Tensor, centerness: Tensor, threshold: float,
    score_threshold: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """
    Fast NMS within each class: a box may be returned under several classes.

    As cross_class_nms; a score must be above score_threshold, and 100 are returned at most.
    """
    scores, order = (
        (probabilities * centerness.unsqueeze(1)).t().sort(dim=1, descending=True, stable=True)
    )
    scores, order = scores[:, :TOP_CANDIDATES], order[:, :TOP_CANDIDATES]
    keep = _fast_nms(boxes[order], threshold) & (scores > score_threshold)
    classes = torch.arange(1, len(order) + 1, device=boxes.device).unsqueeze(1).expand_as(order)
    kept_scores, by_score = scores[keep].sort(descending=True, stable=True)
    by_score = by_score[:MAX_DETECTIONS]
    return order[keep][by_score], classes[keep][by_score], kept_scores[:MAX_DETECTIONS]


def greedy_nms(
    boxes: Tensor, probabilities: Tensor, centerness: Tensor, threshold: float,
    score_threshold: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """
    Classic NMS within each class: a suppressed box no longer suppresses others.

    As per_class_nms; boxes count as 640 pixels wide and one pixel larger, as in the reference.
    """
    rows, classes = (probabilities > score_threshold).nonzero().unbind(1)
    scores = (probabilities * centerness.unsqueeze(1))[rows, classes]
    pixels = boxes[rows] * 640 + boxes.new_tensor((0, 0, 1, 1))
    kept = batched_nms(pixels, scores, classes, threshold)[:MAX_DETECTIONS]
    return rows[kept], classes[kept] + 1, scores[kept]


_NMS = {'cross_class': cross_class_nms, 'per_class': per_class_nms, 'greedy': greedy_nms}


def _fast_nms(boxes: Tensor, threshold: float) -> Tensor:
    # [groups, N, 4] by falling score -> bool [groups, N]
    if boxes.shape[1] == 0:
        return boxes.new_zeros(boxes.shape[:2], dtype=torch.bool)
    overlaps = torch.stack([box_iou(group, group) for group in boxes]).triu(diagonal=1)
    return overlaps.amax(1) <= threshold
