# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The instances of a whole clip: the best scores, and their masks (specification, 8)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stmask_ros.families.msts.grid import FINEST_STRIDE

Size = tuple[int, int]

# Half of FINEST_STRIDE: that of mask logits.
MASK_STRIDE = FINEST_STRIDE // 2
UNUSED_CLASSES = (0, -1)


@dataclass(frozen=True)
class Selection:
    """
    The best pairs of query and class of a clip, best first.

    scores: float32 [K]. queries, classes: int64 [K]; a query may be there with several classes.
    """

    scores: Tensor
    queries: Tensor
    classes: Tensor

    @classmethod
    def of(cls, logits: Tensor, count: int, all_classes: bool = False) -> Selection:
        """
        Choose so many of the logits [Q, classes], or as many as there are.

        all_classes: whether the first and the last, which no category has, may win, as in the
        released code.
        """
        scores = logits.sigmoid()
        if not all_classes:
            scores = scores.clone()
            scores[:, list(UNUSED_CLASSES)] = 0
        best, places = scores.flatten().topk(min(count, scores.numel()))
        return cls(best, places // logits.shape[1], places % logits.shape[1])

    def distinct_queries(self) -> tuple[Tensor, Tensor]:
        """Return the queries without repetition, in order, and the row of each pair in them."""
        same = self.queries[:, None] == self.queries
        first = same.int().argmax(1)
        is_first = first == torch.arange(len(first), device=first.device)
        return self.queries[is_first], is_first.cumsum(0)[first] - 1


def image_logits(logits: Tensor, original: Size, visible: Size | None = None) -> Tensor:
    """
    Return mask logits [N, T, h, w] at the size of the image, bilinear.

    visible: size of the network's image [pixel]: what the map shows beside it is cut off. None
    stretches the whole map over the image, as the released code does.
    """
    if visible is None:
        return F.interpolate(logits, original, mode='bilinear', align_corners=False)
    height, width = original
    scale = (MASK_STRIDE * height / visible[0], MASK_STRIDE * width / visible[1])
    # One cell more, so that the image is covered whatever is rounded.
    around = F.pad(logits, (0, 1, 0, 1), mode='replicate')
    scaled = F.interpolate(
        around, scale_factor=scale, mode='bilinear', align_corners=False,
        recompute_scale_factor=False,
    )
    return scaled[..., :height, :width]
