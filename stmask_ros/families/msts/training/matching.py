# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Which query learns which object: the cheapest pairs of a clip (specification, section 9)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchvision.ops import box_convert, generalized_box_iou_loss

from stmask_ros.families.msts.training.targets import ClipTargets

ALPHA = 0.25
_SMALL = 1e-8


@dataclass(frozen=True)
class MatchingCosts:
    """Factors on the three costs of a pair."""

    classification: float = 2.0
    box: float = 5.0
    overlap: float = 2.0


@dataclass(frozen=True)
class Matches:
    """Pairs of queries and objects: int64 [n] each, in the order of the queries."""

    queries: Tensor
    objects: Tensor


def matching_cost(
    logits: Tensor, boxes: Tensor, targets: ClipTargets, costs: MatchingCosts | None = None
) -> Tensor:
    """
    Return what it costs that a query [Q] is an object [n], [Q, n].

    logits: [Q, K + 2]. boxes: [T, Q, 4]. The distance of boxes is that of vectors of all 4 T
    numbers, as released; the overlap is minus the mean GIoU of the frames.
    """
    costs = costs or MatchingCosts()
    probability = logits.sigmoid()[:, targets.labels]
    hit = ALPHA * (1 - probability) ** 2 * -(probability + _SMALL).log()
    miss = (1 - ALPHA) * probability**2 * -(1 - probability + _SMALL).log()
    tubes = boxes.transpose(0, 1)
    distance = (tubes[:, None] - targets.boxes).flatten(2).norm(dim=-1)
    overlap = 1 - generalised_distance(tubes[:, None], targets.boxes).mean(-1)
    cost: Tensor = (
        costs.classification * (hit - miss) + costs.box * distance - costs.overlap * overlap
    )
    return cost


@torch.no_grad()
def match(
    logits: Tensor, boxes: Tensor, targets: ClipTargets, costs: MatchingCosts | None = None
) -> Matches:
    """Return the pairs whose costs are least in all; see matching_cost()."""
    cost = matching_cost(logits, boxes, targets, costs)
    queries, objects = linear_sum_assignment(cost.cpu().numpy())
    return Matches(
        torch.from_numpy(queries).to(cost.device), torch.from_numpy(objects).to(cost.device)
    )


def generalised_distance(a: Tensor, b: Tensor) -> Tensor:
    """Return 1 - GIoU of boxes [..., 4] that broadcast, center and size each."""
    corners = (box_convert(boxes, 'cxcywh', 'xyxy') for boxes in torch.broadcast_tensors(a, b))
    distance: Tensor = generalized_box_iou_loss(*corners, eps=0)
    return distance
