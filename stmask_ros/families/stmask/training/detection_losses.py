# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
What a head of distances learns, where it may: boxes and classes of what is annotated.

All else keeps the answers that the training began with, so that neither a picture of which not
everything is annotated nor a class that is not in the data takes away what was known (learning
without forgetting, Li and Hoiem, ECCV 2016). A better detector's can be learned instead.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss

from stmask_ros.families.stmask.training.targets import Assignment, FrameTargets, Positives
from stmask_ros.families.stmask.training.teacher import TeacherPredictions
from stmask_ros.layers.boxes import box_iou

# Of the cells in an object's box, those that learn it: the most aligned with it (TOOD, Feng et
# al., ICCV 2021, equation 3: score times overlap to the sixth power).
CELLS_OF_AN_OBJECT = 9
SHARPNESS = 6
# Of a logit: what was hardly seen is not to be seen by heart.
MOST_RISE = 3.0
LEAST_SCORE = 1e-6
# Of the answers that the training began with, what stays where a teacher sees nothing.
UNSEEN = 0.25
# From none to all of a teacher's score, by the IoU of a box with the teacher's.
SOFT_LABEL_OVERLAPS = (0.5, 0.9)
# What a teacher sees with this IoU to an annotated object is that object.
ANNOTATED_OVERLAP = 0.5


def detection_losses(
    logits: Tensor, boxes: Tensor, kept_logits: Tensor, centers: Tensor,
    targets: Sequence[FrameTargets], taught: Sequence[TeacherPredictions] | None = None,
) -> tuple[Tensor, Tensor]:
    """
    Return the losses of boxes (generalised IoU) and of classes (their divergence).

    logits, kept_logits: [B, A, classes], now and of the network that the training began with.
    boxes: [B, A, 4]. centers: [A, 2], of the cells, as fractions of the padded input. taught: a
    teacher's predictions, one an image, boxes as fractions of the padded input: they take the
    place of the kept ones, and objects of theirs that are not annotated are learned. Both
    losses are means over the cells that learn an object, each as often as its box is right.
    """
    now, objects, goal = boxes.detach(), targets, kept_logits.sigmoid()
    if taught is not None:
        soft = torch.stack([_soft_labels(*pair) for pair in zip(now, taught, strict=True)])
        goal = torch.maximum(soft, UNSEEN * goal)
        objects = [_with_seen(*pair) for pair in zip(targets, taught, strict=True)]
    positives = Positives.of(objects, [
        _aligned(target, score, box, centers)
        for target, score, box in zip(objects, logits.detach().sigmoid(), now, strict=True)
    ])
    rows = positives.frames, positives.anchors
    overlap = _overlaps(now[rows], positives.boxes)
    surer = _surer(goal[rows], positives.labels - 1, overlap)
    goal[rows] = surer.where(_annotated(positives, targets).unsqueeze(1), goal[rows])
    count = overlap.sum().clamp(min=1)
    box_loss = generalized_box_iou_loss(boxes[rows], positives.boxes, reduction='none')
    return (overlap * box_loss).sum() / count, _divergence(logits, goal) / count


def _soft_labels(boxes: Tensor, taught: TeacherPredictions) -> Tensor:
    """Return a teacher's scores [A, classes] of boxes [A, 4], lower the less it has the same."""
    if len(taught.boxes) == 0:
        return taught.scores.new_zeros(len(boxes), taught.scores.shape[1])
    other, same = SOFT_LABEL_OVERLAPS
    alike = ((box_iou(boxes, taught.boxes) - other) / (same - other)).clamp(0, 1)
    best = (taught.scores.amax(1) * alike).argmax(1, keepdim=True)
    return taught.scores[best.squeeze(1)] * alike.gather(1, best)


def _with_seen(target: FrameTargets, taught: TeacherPredictions) -> FrameTargets:
    """Return the objects of an image, and after them what a teacher sees beside them."""
    seen = taught.objects
    if len(target.boxes):
        overlap = box_iou(taught.boxes[seen], target.boxes).amax(1)
        seen = seen[overlap < ANNOTATED_OVERLAP]
    labels = taught.scores[seen].argmax(1) + 1
    return FrameTargets(
        torch.cat((target.boxes, taught.boxes[seen])), torch.cat((target.labels, labels)),
        torch.cat((target.ids, torch.zeros_like(labels))), target.masks,
    )


def _annotated(positives: Positives, targets: Sequence[FrameTargets]) -> Tensor:
    """Return of which cells the object is one of the targets, not one of a teacher's [P]."""
    counts = torch.tensor([len(target.boxes) for target in targets])
    return positives.objects < counts.to(positives.frames.device)[positives.frames]


def _surer(known: Tensor, labels: Tensor, overlap: Tensor) -> Tensor:
    """
    Return the scores [N, classes] that the cells of objects are to have, of the known ones.

    The true class rises towards the overlap [N], and with it all that were less likely: so few
    objects tell that something is there, but not that what looks like it has their class.
    """
    logits = torch.logit(known, LEAST_SCORE)
    true = logits.gather(1, labels.unsqueeze(1))
    wanted = torch.logit(overlap, LEAST_SCORE).unsqueeze(1)
    rise = (wanted - true).clamp(0, MOST_RISE)
    return (logits + rise * (logits <= true)).sigmoid()


def _aligned(
    target: FrameTargets, scores: Tensor, boxes: Tensor, centers: Tensor
) -> Assignment:
    """Return which cells, of all A, learn which object: none outside of its box."""
    if len(target.boxes) == 0:
        nothing = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
        return Assignment(nothing, nothing)
    overlaps = box_iou(target.boxes, boxes)
    low, high = target.boxes.unsqueeze(1).split(2, 2)
    inside = ((centers >= low) & (centers <= high)).all(2)
    alignment = scores.T[target.labels - 1].clamp(min=LEAST_SCORE) * overlaps**SHARPNESS * inside
    best = alignment.topk(min(CELLS_OF_AN_OBJECT, len(boxes)), 1)
    chosen = torch.zeros_like(alignment).scatter(1, best.indices, best.values)
    quality, objects = chosen.max(0)
    return Assignment(target.labels[objects] * (quality > 0), objects)


def _overlaps(first: Tensor, second: Tensor) -> Tensor:
    """Return the IoU [N] of boxes [N, 4] with those of the same row."""
    return box_iou(first.unsqueeze(1), second.unsqueeze(1)).flatten()


def _divergence(logits: Tensor, goal: Tensor) -> Tensor:
    """
    Return the sum of the Kullback-Leibler divergences of sigmoids from their goals.

    Not focal: what is to be kept is many small differences, whose cubes would weigh nothing, and
    all scores rise with those of the objects.
    """
    both = F.binary_cross_entropy_with_logits(logits, goal, reduction='none')
    return (both - F.binary_cross_entropy(goal, goal, reduction='none')).sum()
