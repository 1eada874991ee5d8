# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The detections of a frame: boxes, the best of each level, suppression (section 6)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from stmask_ros.families.class_thresholds import ClassThresholds, wanted_classes
from stmask_ros.families.sipmask.neck import STRIDES
from stmask_ros.families.sipmask.towers import TowerOutput
from stmask_ros.layers.boxes import box_iou
from stmask_ros.layers.rows import Table, pick

Sizes = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class DetectionRules:
    """
    Which cells become detections.

    score_threshold: lowest score, class probability times centerness, that is exceeded [0, 1].
    nms_threshold: IoU above which the weaker of two detections of a class goes [0, 1].
    candidates: cells of a level, and then boxes of a class, that are looked at: the best ones.
    max_detections: most of a frame.
    class_thresholds: score thresholds by class; nothing is computed of those that are off.
    """

    score_threshold: float = 0.03
    nms_threshold: float = 0.5
    candidates: int = 200
    max_detections: int = 10
    class_thresholds: ClassThresholds = ()

    def wanted(self, num_classes: int, device: torch.device) -> tuple[Tensor, float | Tensor]:
        """Return the classes looked at, int64 [C], and their thresholds, [C, 1] if they differ."""
        if not self.class_thresholds:
            return torch.arange(1, num_classes + 1, device=device), self.score_threshold
        classes, lowest = wanted_classes(self.class_thresholds, device)
        return classes, lowest.unsqueeze(-1)


@dataclass(frozen=True)
class Candidates(Table):
    """
    N cells before suppression.

    used: bool [N]. cells: int64 [N], where in the dense predictions. boxes: [N, 4] [pixel of the
    image]. probabilities: [N, classes]. centerness: [N]. With a B in front for a batch, see Table.
    """

    mark: ClassVar[str] = 'used'
    used: Tensor
    cells: Tensor
    boxes: Tensor
    probabilities: Tensor
    centerness: Tensor


@dataclass(frozen=True)
class Survivors(Table):
    """
    N boxes that suppression left, by falling score.

    boxes: [N, 4], inside the image [pixel of the image]; may be inverted, with x_max < x_min.
    scores: [N], at most 1. classes: int64 [N], from 1. cells: int64 [N], see Candidates; a cell
    may be there under several classes. With a B in front for a batch, see Table.
    """

    mark: ClassVar[str] = 'classes'
    boxes: Tensor
    scores: Tensor
    classes: Tensor
    cells: Tensor


def detect(
    towers: TowerOutput, frame: int | slice, sizes: Tensor, scales: Tensor, rules: DetectionRules
) -> Survivors:
    """
    Return the detections of a frame, or of several as a batch.

    frame: of the batch; a slice for tables of a batch, see Table. sizes: int64 [2] or [B, 2],
    (height, width) of the resized image [pixel]. scales: float32 [] or [B], from the image to it.
    """
    if rules.class_thresholds:
        classes, _ = wanted_classes(rules.class_thresholds, towers.class_logits.device)
        towers = towers._replace(class_logits=towers.class_logits[..., classes - 1])
    return suppress(best_candidates(towers, frame, sizes, scales, rules.candidates), rules)


def best_candidates(
    towers: TowerOutput, frame: int | slice, sizes: Tensor, scales: Tensor, most: int
) -> Candidates:
    """Return of each level the best cells, by falling score; of a smaller level all, in order."""
    probabilities = towers.class_logits[frame].sigmoid()
    centerness = towers.centerness[frame].sigmoid()
    best = (probabilities * centerness.unsqueeze(-1)).amax(-1)
    cells = _best_of_each_level(best, towers.level_sizes, most)
    points = locations(towers.level_sizes, best.device)[cells]
    boxes = decode(points, pick(towers.distances[frame], cells))
    boxes = clamped(boxes, sizes) / scales[..., None, None]
    return Candidates(
        torch.ones_like(cells, dtype=torch.bool), cells, boxes, pick(probabilities, cells),
        pick(centerness, cells),
    )


def _best_of_each_level(scores: Tensor, level_sizes: Sizes, most: int) -> Tensor:
    # Scores [..., N] -> int64 [..., candidates]
    chosen, first = [], 0
    for height, width in level_sizes:
        count = height * width
        here = scores[..., first:first + count]
        if count > most:
            order = here.sort(dim=-1, descending=True, stable=True).indices[..., :most]
        else:
            order = torch.arange(count, device=scores.device).expand_as(here)
        chosen.append(order + first)
        first += count
    return torch.cat(chosen, -1)


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # what is kept must serve training as well
def locations(level_sizes: Sizes, device: torch.device) -> Tensor:
    """Return (x, y) of all cells [N, 2], in the order (level, y, x) [pixel of the input]."""
    levels = []
    for (height, width), stride in zip(level_sizes, STRIDES, strict=True):
        y = torch.arange(height, device=device) * stride + stride // 2
        x = torch.arange(width, device=device) * stride + stride // 2
        grid_y, grid_x = torch.meshgrid(y, x, indexing='ij')
        levels.append(torch.stack((grid_x, grid_y), -1).flatten(0, 1))
    return torch.cat(levels).float()


def decode(points: Tensor, distances: Tensor) -> Tensor:
    """Return the boxes [..., 4] at these distances [..., 4] of points [..., 2]."""
    return torch.cat((points - distances[..., :2], points + distances[..., 2:]), -1)


def clamped(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Return boxes [..., N, 4] within images of sizes int64 [..., 2] (height, width) [pixel]."""
    last = sizes.flip(-1) - 1
    limits = torch.cat((last, last), -1).unsqueeze(-2)
    return boxes.clamp(min=0).minimum(limits.to(boxes.dtype))


def suppress(candidates: Candidates, rules: DetectionRules) -> Survivors:
    """
    Suppress within each class: a box goes if any stronger one overlaps it, suppressed or not.

    An IoU that is not a number, of two boxes without area, counts as an overlap: so the reference.
    Where rules have class_thresholds, the probabilities are of the classes that are on.
    """
    scores = (candidates.probabilities * candidates.centerness.unsqueeze(-1)).mT
    classes, lowest = rules.wanted(scores.shape[-2], scores.device)
    most = min(rules.candidates, scores.shape[-1])
    if scores.dim() == 2:
        # A box too weak to be kept is weaker than those that it could suppress.
        strong = (scores > lowest).sum(-1)
        most = min(most, int(strong.max())) if strong.numel() else 0
    ranked = scores.sort(dim=-1, descending=True, stable=True)
    order, scores = ranked.indices[..., :most], ranked.values[..., :most]
    chosen = candidates.rows(order.flatten(-2))
    kept = not_overlapped(chosen.boxes.unflatten(-2, order.shape[-2:]), rules.nms_threshold)
    kept = (kept & (scores > lowest)).flatten(-2)
    classes = classes.unsqueeze(1).expand_as(scores).flatten(-2) * kept
    survivors = Survivors(chosen.boxes, scores.flatten(-2), classes, chosen.cells)
    ranked = survivors.scores.masked_fill(~kept, -torch.inf).sort(
        dim=-1, descending=True, stable=True
    )
    survivors = survivors.rows(ranked.indices[..., :rules.max_detections])
    return survivors.only(survivors.valid)


def not_overlapped(boxes: Tensor, threshold: float) -> Tensor:
    """Return which boxes [..., N, 4], by falling score, no stronger one overlaps, [..., N]."""
    if boxes.shape[-2] == 0:
        return boxes.new_zeros(boxes.shape[:-1], dtype=torch.bool)
    return box_iou(boxes, boxes).triu(diagonal=1).amax(-2) <= threshold
