# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Which anchor learns which object: ground truth, matching, and the anchors that matched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stmask_ros.layers.boxes import box_iou

BACKGROUND = 0
NEUTRAL = -1

# Above every threshold: the best anchor of an object is positive whatever its overlap.
_FORCED = 2.0


@dataclass(frozen=True)
class FrameTargets:
    """
    The objects of one image.

    boxes: [N, 4], corners as fractions of the padded input. labels: int64 [N], 1 is the first
    class. ids: int64 [N], >= 1, the same object has the same id in both images of a pair.
    masks: bool [N, H, W] in pixels of the padded input.
    """

    boxes: Tensor
    labels: Tensor
    ids: Tensor
    masks: Tensor

    def to(self, device: torch.device) -> FrameTargets:
        """Return the same objects on a device."""
        return FrameTargets(
            self.boxes.to(device), self.labels.to(device), self.ids.to(device),
            self.masks.to(device, non_blocking=True),
        )


@dataclass(frozen=True)
class MatchingRules:
    """
    How anchors are matched to objects, in IoU.

    positive: from here on an anchor is the object's. negative: below, it is background; between
    the two it is neutral and learns no class. ambiguous: an anchor that overlaps several objects
    by more than this is neutral; None for no such rule.
    classification_aware: as the released code does, add the quality of the classification to
    the overlap of anchors above `positive`, and its mean to both thresholds. This turns neutral
    anchors into background, and is not in the paper.
    """

    positive: float = 0.5
    negative: float = 0.4
    ambiguous: float | None = 0.4
    classification_aware: bool = False


@dataclass(frozen=True)
class Assignment:
    """
    What each anchor of an image learns.

    labels: int64 [A], of the object; 0 is background, -1 neutral.
    objects: int64 [A], row of the object in its FrameTargets; means nothing unless labels > 0.
    """

    labels: Tensor
    objects: Tensor


def assign(
    targets: FrameTargets, priors: Tensor, class_logits: Tensor, rules: MatchingRules
) -> Assignment:
    """
    Match the anchors of one image.

    priors: [A, 4] as (center, size). class_logits: [A, 1 + classes]; looked at only by
    classification-aware rules, and never differentiated.
    """
    if len(targets.boxes) == 0:
        nothing = torch.zeros(len(priors), dtype=torch.int64, device=priors.device)
        return Assignment(nothing, nothing)
    half = priors[:, 2:] / 2
    corners = torch.cat((priors[:, :2] - half, priors[:, :2] + half), 1)
    overlaps = box_iou(targets.boxes, corners)
    best, objects = overlaps.max(0)
    if rules.ambiguous is not None:
        several = (overlaps > rules.ambiguous).sum(0) > 1
        best = torch.where(several, (rules.positive + rules.negative) / 2, best)
    raised = 0.0
    if rules.classification_aware:
        sure = best > rules.positive
        quality = _quality(class_logits.detach(), targets.labels[objects]) * sure
        raised = float(quality.sum() / sure.sum().clamp(min=1))
        best = best + quality
    best, objects = _force_best_anchors(overlaps, best, objects)
    labels = targets.labels[objects]
    labels = labels.masked_fill(best < rules.positive + raised, NEUTRAL)
    return Assignment(labels.masked_fill(best < rules.negative + raised, BACKGROUND), objects)


def _quality(class_logits: Tensor, labels: Tensor) -> Tensor:
    # 1 for a certain and right class, towards 0 for a wrong one.
    return 2 / (1 + F.cross_entropy(class_logits, labels, reduction='none').exp())


def _force_best_anchors(
    overlaps: Tensor, best: Tensor, objects: Tensor
) -> tuple[Tensor, Tensor]:
    """Give every object the anchor that it overlaps most, the best pair of all first."""
    best, objects, overlaps = best.clone(), objects.clone(), overlaps.clone()
    for _ in range(min(overlaps.shape)):
        row, anchor = divmod(int(overlaps.argmax()), overlaps.shape[1])
        overlaps[row] = -1
        overlaps[:, anchor] = -1
        best[anchor] = _FORCED
        objects[anchor] = row
    return best, objects


@dataclass(frozen=True)
class Positives:
    """
    The anchors of a batch that matched an object, image by image.

    frames, anchors, objects: int64 [P], rows of the batch, of the anchors, and of the image's
    FrameTargets. boxes: [P, 4], labels, ids: int64 [P], of the objects.
    weights: [P], one over the number of positives of the same image.
    """

    frames: Tensor
    anchors: Tensor
    objects: Tensor
    boxes: Tensor
    labels: Tensor
    ids: Tensor
    weights: Tensor

    @classmethod
    def of(cls, targets: Sequence[FrameTargets], assignments: Sequence[Assignment]) -> Positives:
        """Collect the anchors whose label is an object's."""
        chosen = [(a.labels > 0).nonzero().squeeze(1) for a in assignments]
        objects = [a.objects[rows] for a, rows in zip(assignments, chosen, strict=True)]
        seen = list(zip(targets, objects, strict=True))
        return cls(
            torch.cat([torch.full_like(rows, frame) for frame, rows in enumerate(chosen)]),
            torch.cat(chosen),
            torch.cat(objects),
            torch.cat([t.boxes[rows] for t, rows in seen]),
            torch.cat([t.labels[rows] for t, rows in seen]),
            torch.cat([t.ids[rows] for t, rows in seen]),
            torch.cat([t.boxes.new_full((len(rows),), 1 / max(len(rows), 1)) for t, rows in seen]),
        )
