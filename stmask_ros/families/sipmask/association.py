# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Which detection continues which track (section 8). Pure functions, without loops."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

SCORE_WEIGHT = 1.0
OVERLAP_WEIGHT = 2.0
CLASS_WEIGHT = 10.0
# Nothing weaker claims a track.
LOWEST_CLAIM = -100.0


@dataclass(frozen=True)
class Seen:
    """
    What tells objects apart: of D detections or of T tracks, [N, ...] or [B, N, ...].

    boxes: [N, 4] [pixel of the image]. embeddings: [N, size], of any length. classes: int64 [N],
    from 1; 0 in a row that is not in use.
    """

    boxes: Tensor
    embeddings: Tensor
    classes: Tensor


def matching_scores(
    detections: Seen, scores: Tensor, tracks: Seen, appearance: bool = True
) -> Tensor:
    """
    Return the totals [..., D, 1 + T]; column 0 stands for a new track.

    scores: of the detections, [..., D]. appearance: whether embeddings are compared.
    """
    # In double precision, so that equal embeddings give equal logits wherever they stand.
    logits = (detections.embeddings.double() @ tracks.embeddings.double().mT).float()
    if not appearance:
        logits = torch.zeros_like(logits)
    used = tracks.classes.unsqueeze(-2) > 0
    logits = F.pad(logits.masked_fill(~used, -torch.inf), (1, 0))
    overlap = F.pad(pixel_iou(detections.boxes, tracks.boxes), (1, 0))
    same = detections.classes.unsqueeze(-1) == tracks.classes.unsqueeze(-2)
    return (
        logits.log_softmax(-1) + SCORE_WEIGHT * scores.unsqueeze(-1).log()
        + OVERLAP_WEIGHT * overlap + CLASS_WEIGHT * F.pad(same.float(), (1, 0), value=1.0)
    )


def pixel_iou(a: Tensor, b: Tensor) -> Tensor:
    """Return the IoU [..., A, B] of boxes [..., A, 4] and [..., B, 4] whose last pixel counts."""
    top_left = torch.maximum(a[..., :, None, :2], b[..., None, :, :2])
    bottom_right = torch.minimum(a[..., :, None, 2:], b[..., None, :, 2:])
    intersection = (bottom_right - top_left + 1).clamp(min=0).prod(-1)
    area_a, area_b = ((box[..., 2:] - box[..., :2] + 1).prod(-1) for box in (a, b))
    return intersection / (area_a[..., :, None] + area_b[..., None, :] - intersection)


@dataclass(frozen=True)
class Matches:
    """
    What became of D detections and T tracks; with a B in front for a batch.

    new: bool [D], that start a track. claims: int64 [D], the track that a detection claims when
    its turn comes, or -1; of several in the order of the detections each but the last is
    overtaken. owners: int64 [T], the detection that a track has in the end, or -1.
    """

    new: Tensor
    claims: Tensor
    owners: Tensor


def match(totals: Tensor, valid: Tensor) -> Matches:
    """
    Join detections to the tracks that they like best, in the order of the detections.

    totals: [..., D, 1 + T], of matching_scores(). valid: bool [..., D], the rows in use. A later
    detection takes a track from an earlier one only with a higher total; others get none.
    """
    # The first of equals, on every device.
    best = totals.amax(-1, keepdim=True)
    column = torch.arange(totals.shape[-1], device=totals.device)
    chosen = torch.where(totals == best, column, column[-1]).amin(-1)
    best = best.squeeze(-1)
    order = torch.arange(chosen.shape[-1], device=totals.device)
    rivals = (chosen.unsqueeze(-1) == chosen.unsqueeze(-2)) & valid.unsqueeze(-2)
    rivals = rivals & (order < order.unsqueeze(-1))
    earlier = torch.where(rivals, best.unsqueeze(-2), LOWEST_CLAIM)
    earlier = F.pad(earlier, (1, 0), value=LOWEST_CLAIM).amax(-1)
    claims = valid & (chosen > 0) & (best > earlier)
    last = chosen.new_zeros(*totals.shape[:-2], totals.shape[-1])
    return Matches(
        valid & (chosen == 0), torch.where(claims, chosen - 1, -1),
        last.scatter_reduce(-1, chosen * claims, (order + 1) * claims, 'amax')[..., 1:] - 1,
    )
