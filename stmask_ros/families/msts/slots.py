# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The slots of a window that hold an instance in its newest frame."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stmask_ros.families.class_thresholds import lowest_scores
from stmask_ros.families.msts.decoder import LayerOutput
from stmask_ros.families.msts.grid import Grid
from stmask_ros.families.msts.masks import coarse_masks
from stmask_ros.families.msts.network import MSTS
from stmask_ros.families.msts.selection import UNUSED_CLASSES
from stmask_ros.families.msts.tracks import TrackerConfig
from stmask_ros.layers.boxes import corners
from stmask_ros.masks import Float32Array, Int64Array


@dataclass(frozen=True)
class Slots:
    """
    K slots, best first.

    scores: float32 [K]. classes: int64 [K], from 1. boxes: float32 [K, 4], corners in the newest
    frame as fractions of the image. embeddings: [K, channels]. newest: mask logits of the newest
    frame at stride 8, [K, h, w]. masks: bool [K, T, h, w] in all frames of the window. window:
    how many frames it has when it is full.
    """

    scores: Float32Array
    classes: Int64Array
    boxes: Float32Array
    embeddings: Tensor
    newest: Tensor
    masks: Tensor
    window: int

    def __len__(self) -> int:
        """Return K."""
        return len(self.scores)

    @property
    def masks_to_keep(self) -> Tensor:
        """The masks in the frames that the next window has too, [K, F, h, w]."""
        count = min(self.masks.shape[1], self.window - 1)
        return self.masks[:, self.masks.shape[1] - count:]


def find_slots(
    network: MSTS, output: LayerOutput, features: Tensor, grid: Grid, config: TrackerConfig
) -> Slots:
    """
    Return the slots of a window whose scores and masks say that there is an instance.

    output: of the last layer, of one clip. features: of masks [T, 8, h, w]. A slot without a mask
    in the newest frame holds none there.
    """
    probabilities = output.logits[0].sigmoid()
    probabilities[:, list(UNUSED_CLASSES)] = 0
    best, classes = probabilities.max(1)
    if config.class_thresholds:
        # Behind all others, and never good: no masks are made of what nobody wants.
        best = best.masked_fill(best < lowest_scores(config.class_thresholds, classes), -1)
    scores, queries = best.topk(min(config.max_detections, len(best)))
    parameters = network.mask_parameters(output, 0, queries)
    logits = coarse_masks(features, parameters, network.mask_centers(output, 0, queries, grid))
    masks = logits > 0
    good = (scores >= config.score_threshold) & masks[:, -1].flatten(1).any(1)
    rows = unsuppressed(masks, good, config.nms_threshold).nonzero().squeeze(1)
    queries = queries[rows]
    boxes = corners(output.boxes[0, -1, queries])
    return Slots(
        scores[rows].cpu().numpy(), classes[queries].cpu().numpy(), boxes.cpu().numpy(),
        output.instances[0, queries].float(), logits[rows, -1], masks[rows], network.config.window,
    )


def unsuppressed(masks: Tensor, good: Tensor, most: float) -> Tensor:
    """
    Return which of the good slots [K], best first, no better one that stays overlaps too much.

    masks: bool [K, T, h, w]. most: IoU over all frames.
    """
    flat = masks.flatten(1).float()
    area = flat.sum(1)
    both = flat @ flat.t()
    overlap = both / (area[:, None] + area - both).clamp(min=1)
    rivals = (overlap > most).triu(1)
    stays = good
    # In a chain of K slots, the last is settled after K rounds; few rounds do for real ones.
    for _ in range(len(masks)):
        settled = good & ~(rivals & stays[:, None]).any(0)
        if torch.equal(settled, stays):
            break
        stays = settled
    return stays
