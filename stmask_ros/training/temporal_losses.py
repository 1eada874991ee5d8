"""What temporal fusion learns: to carry an object's box and mask from one image to the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from stmask_ros.network.boxes import center_size, encode
from stmask_ros.training.mask_losses import mask_loss
from stmask_ros.training.targets import FrameTargets, Positives

# Boxes [N, 4] of first images and the pair of each, int64 [N] -> box deltas [N, 4] and
# coefficient deltas [N, prototypes], as STMask.propagate.
Propagate = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def shift_losses(
    propagate: Propagate | None, boxes: Tensor, coefficients: Tensor, prototypes: Tensor,
    positives: Positives, targets: Sequence[FrameTargets], variances: tuple[float, float],
    activation: Literal['tanh', 'none'], reference_behaviour: bool,
) -> tuple[Tensor, Tensor]:
    """
    Return the losses of the predicted changes of boxes and of mask coefficients, means over pairs.

    boxes: [P, 4] predicted, coefficients: [P, prototypes], both of the positives; prototypes:
    [B, h, w, prototypes]; none of them is differentiated. What is learned is the change from the
    true box in the first image to that in the second, of the objects that are in both.
    """
    if propagate is None:
        return prototypes.new_zeros(()), prototypes.new_zeros(())
    rows, successors = _successors(positives, targets)
    pair = positives.frames[rows] // 2
    box_deltas, coefficient_deltas = propagate(boxes[rows], pair)
    box_loss = box_deltas.sum() * 0
    loss_of_masks = coefficient_deltas.sum() * 0
    for index in range(len(targets) // 2):
        here = (pair == index).nonzero().squeeze(1)
        if len(here) == 0:
            continue
        following = targets[2 * index + 1]
        goal = following.boxes[successors[here]]
        truth = encode(goal, center_size(positives.boxes[rows[here]]), variances)
        each = F.smooth_l1_loss(box_deltas[here], truth, reduction='none').sum(1)
        box_loss = box_loss + each.mean()
        carried = coefficients[rows[here]] + coefficient_deltas[here]
        masks = following.masks[successors[here]]
        loss_of_masks = loss_of_masks + mask_loss(
            prototypes[2 * index + 1], carried, goal, masks, activation, reference_behaviour
        ).mean()
    pairs = max(len(targets) // 2, 1)
    return box_loss / pairs, loss_of_masks / pairs


def _successors(
    positives: Positives, targets: Sequence[FrameTargets]
) -> tuple[Tensor, Tensor]:
    """Return the positives of first images whose object is in the second, and its row there."""
    rows, successors = [], []
    for frame in range(0, len(targets) - 1, 2):
        here = (positives.frames == frame).nonzero().squeeze(1)
        same = positives.ids[here, None] == targets[frame + 1].ids
        found, row = same.nonzero(as_tuple=True)
        rows.append(here[found])
        successors.append(row)
    return torch.cat(rows), torch.cat(successors)
