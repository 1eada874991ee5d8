# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What a head of distances and the branches on its boxes learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from stmask_ros.families.stmask.heads import InstanceOutput
from stmask_ros.families.stmask.network import Predictions
from stmask_ros.families.stmask.training.detection_losses import detection_losses
from stmask_ros.families.stmask.training.loss_inputs import (
    DensePredictions,
    LossConfig,
    Propagate,
)
from stmask_ros.families.stmask.training.losses import (
    Losses,
    identities,
    masks_loss,
    track_loss,
)
from stmask_ros.families.stmask.training.targets import Assignment, FrameTargets, Positives
from stmask_ros.families.stmask.training.teacher import TeacherPredictions
from stmask_ros.families.stmask.training.temporal_losses import shift_losses
from stmask_ros.layers.boxes import box_iou

# Boxes of an object that learn, of those that overlap it by this much: chosen by chance.
BOXES_OF_AN_OBJECT = 3
LEAST_OVERLAP = 0.5
# Rows of the batch and of the cells, int64 [N] -> what their boxes have, as
# DistanceHead.instances_of.
InstancesOf = Callable[[Tensor, Tensor], InstanceOutput]


def instance_losses(
    instances_of: InstancesOf, predictions: Predictions, targets: Sequence[FrameTargets],
    propagate: Propagate | None, config: LossConfig, kept_logits: Tensor | None = None,
    taught: Sequence[TeacherPredictions] | None = None,
) -> Losses:
    """
    Return the losses of masks, embeddings and temporal fusion on the predicted boxes.

    kept_logits, taught: see detection_losses; without the former the terms of boxes and classes
    are zero. targets: one an image, in the order of the predictions, pair by pair; objects that
    no box overlaps do not count, nor does the rest of an image, so that not everything in it must
    be annotated.
    """
    boxes = predictions.boxes.detach()
    positives = found_objects(boxes, targets)
    dense = _dense(instances_of, predictions, positives, propagate)
    chosen = boxes[positives.frames, positives.anchors]
    box_shift, mask_shift = shift_losses(dense, positives, chosen, targets, config)
    weights, nothing = config.weights, boxes.new_zeros(())
    box, classification = nothing, nothing
    if kept_logits is not None:
        box, classification = detection_losses(
            predictions.head.class_logits, predictions.boxes, kept_logits,
            predictions.priors[:, :2], targets, taught)
    return Losses(
        box=weights.box * box, center=nothing,
        classification=weights.classification * classification,
        mask=weights.mask / len(targets) * masks_loss(dense, positives, chosen, targets, config),
        track=weights.track * track_loss(
            dense.embeddings[positives.frames, positives.anchors], identities(positives),
            positives.weights,
        ),
        box_shift=weights.box_shift * box_shift,
        mask_shift=weights.mask_shift * mask_shift,
    )


def found_objects(boxes: Tensor, targets: Sequence[FrameTargets]) -> Positives:
    """Return some boxes of each object among the predicted ones [B, A, 4]."""
    return Positives.of(targets, [
        _found(frame, target) for frame, target in zip(boxes, targets, strict=True)
    ])


def _found(boxes: Tensor, target: FrameTargets) -> Assignment:
    nothing = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
    if len(target.boxes) == 0:
        return Assignment(nothing, nothing)
    best, owner = box_iou(target.boxes, boxes).max(0)
    rows = torch.arange(len(target.boxes), device=boxes.device).unsqueeze(1)
    drawn = torch.rand_like(best).masked_fill(best < LEAST_OVERLAP, -1)
    order = drawn.where(owner == rows, -1).topk(min(BOXES_OF_AN_OBJECT, len(boxes)))
    chosen = order.indices[order.values > 0]
    labels = nothing.index_copy(0, chosen, target.labels[owner[chosen]])
    return Assignment(labels, owner)


def _dense(
    instances_of: InstancesOf, predictions: Predictions, positives: Positives,
    propagate: Propagate | None,
) -> DensePredictions:
    """Return predictions whose coefficients and embeddings are zero but for the positives."""
    found = instances_of(positives.frames, positives.anchors)
    batch, anchors = predictions.boxes.shape[:2]
    coefficients, embeddings = (
        values.new_zeros(batch, anchors, values.shape[1]).index_put(
            (positives.frames, positives.anchors), values
        ) for values in found
    )
    return DensePredictions(
        predictions.head.box_deltas, predictions.head.class_logits, None, coefficients,
        embeddings, predictions.prototypes.float(), predictions.priors, propagate,
    )
