# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What temporal fusion learns: to carry an object's box and mask from one image to the next."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from stmask_ros.families.stmask.training.loss_inputs import DensePredictions, LossConfig
from stmask_ros.families.stmask.training.mask_losses import draw, mask_loss
from stmask_ros.families.stmask.training.targets import FrameTargets, Positives
from stmask_ros.layers.boxes import center_size, encode


def shift_losses(
    predictions: DensePredictions, positives: Positives, boxes: Tensor,
    targets: Sequence[FrameTargets], config: LossConfig,
) -> tuple[Tensor, Tensor]:
    """
    Return the losses of the predicted changes of boxes and of mask coefficients, means over pairs.

    boxes: [P, 4], predicted, of the positives. They, the coefficients and the prototypes are
    taken as they are: only the changes learn. What they learn is the change from the true box in
    the first image to that in the second, of the objects that are in both.
    """
    if predictions.propagate is None:
        return boxes.new_zeros(()), boxes.new_zeros(())
    rows, successors = _successors(positives, targets, config)
    pair = positives.frames[rows] // 2
    box_deltas, coefficient_deltas = predictions.propagate(boxes[rows], pair)
    coefficients = predictions.mask_coefficients[positives.frames[rows], positives.anchors[rows]]
    carried = coefficients.detach() + coefficient_deltas
    # Part of the graph even when there is nothing to carry.
    box_loss, loss_of_masks = box_deltas.sum() * 0, coefficient_deltas.sum() * 0
    for index in pair.unique().tolist():
        here = pair == index
        following = targets[2 * index + 1]
        goal = following.boxes[successors[here]]
        truth = encode(goal, center_size(positives.boxes[rows[here]]), config.variances)
        each = F.smooth_l1_loss(box_deltas[here], truth, reduction='none').sum(1)
        box_loss = box_loss + each.mean()
        loss_of_masks = loss_of_masks + mask_loss(
            predictions.prototypes[2 * index + 1].detach(), carried[here], goal,
            following.masks[successors[here]], config.mask_activation, config.reference_behaviour,
            config.dice, least_side=0 if config.reference_behaviour else 1,
        ).mean()
    pairs = len(targets) // 2
    return box_loss / pairs, loss_of_masks / pairs


def _successors(
    positives: Positives, targets: Sequence[FrameTargets], config: LossConfig
) -> tuple[Tensor, Tensor]:
    """Return positives of first images whose object is in the second, and its row there."""
    rows, successors = [], []
    for frame in range(0, len(targets) - 1, 2):
        here = (positives.frames == frame).nonzero().squeeze(1)
        same = positives.ids[here, None] == targets[frame + 1].ids
        found, row = draw(same.nonzero(), config).unbind(1)
        rows.append(here[found])
        successors.append(row)
    return torch.cat(rows), torch.cat(successors)
