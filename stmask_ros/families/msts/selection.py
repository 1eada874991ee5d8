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


def image_logits(
    logits: Tensor, original: Size, visible: Size | None = None
) -> Tensor:
    """
    Return mask logits [..., h, w] at the size of the image, bilinear.

    visible: size of the network's image [pixel], to cut off what the map shows beside it; None
    stretches the whole map, as the released code does.
    """
    if visible is not None:
        logits = visible_part(logits, visible)
    flat = logits.flatten(0, -3) if logits.dim() > 3 else logits
    scaled = F.interpolate(flat[:, None], original, mode='bilinear', align_corners=False)
    return scaled.view(*logits.shape[:-2], *original)


def visible_part(logits: Tensor, visible: Size) -> Tensor:
    """Return the part of mask logits that shows an image of this size [pixel of the network]."""
    height, width = (-(-side // MASK_STRIDE) for side in visible)
    return logits[..., :height, :width]
