# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
A tracking head that reads how centerness moves from frame to frame.

The paper has a head with this purpose and tells nothing of its layers, inputs and losses: this
design is ours (specification, section 6.1), close to what tracks objects as points (CenterTrack).
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmask_ros.families.sipmask.neck import STRIDES
from stmask_ros.families.sipmask.network import Predictions, embedding_cells
from stmask_ros.families.sipmask.towers import joined_levels
from stmask_ros.families.sipmask.tracks import TrackTable
from stmask_ros.layers.deformable import by_level
from stmask_ros.layers.rows import pick

REDUCED = 64
HIDDEN = 128
NORM_GROUPS = 32


class MotionHead(nn.Module):
    """
    Where each object was in the frame before, from both frames' centerness.

    Three convolutions, the second of dilation 2, so that it sees about 100 pixels.
    """

    def __init__(self, channels: int, reads: Literal['features', 'centerness']) -> None:
        """channels: of the box towers."""
        super().__init__()
        self.reduce = nn.Conv2d(channels, REDUCED, 1) if reads == 'features' else None
        self.channels = 3 + (REDUCED if reads == 'features' else 0)
        self.first = _unit(2 * self.channels, 1)
        self.second = _unit(HIDDEN, 2)
        self.displacement = nn.Conv2d(HIDDEN, 2, 3, padding=1)

    def features(self, predictions: Predictions) -> Tensor:
        """Return what the head reads of frames, [B, 3 + 64 or 3, H / 8, W / 8]."""
        towers = predictions.head.towers
        maps = by_level(towers.centerness.sigmoid().unsqueeze(2), towers.level_sizes)
        centerness = joined_levels(maps[:3])
        if self.reduce is None:
            return centerness
        tower = towers.box_towers[0]
        return torch.cat((centerness.to(tower.dtype), self.reduce(tower)), 1)

    def forward(self, former: Tensor, current: Tensor) -> Tensor:
        """
        Return, at each cell, how far the object's center was in the former frame, [B, 2, h, w].

        former, current: features() of two frames. (x, y), [cells of stride 8].
        """
        x = self.second(self.first(torch.cat((former, current), 1)))
        out: Tensor = self.displacement(x)
        return out.float()


def _unit(channels: int, dilation: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, HIDDEN, 3, padding=dilation, dilation=dilation, bias=False),
        nn.GroupNorm(NORM_GROUPS, HIDDEN), nn.ReLU(inplace=True),
    )


def former_centers(displacement: Tensor, boxes: Tensor, scales: Tensor) -> Tensor:
    """
    Return where the centers of boxes [..., D, 4] were in the former frame, [..., D, 2].

    displacement: [2, h, w] or [B, 2, h, w]. scales: float32 [...], to the network's pixels.
    """
    size = (int(displacement.shape[-2]), int(displacement.shape[-1]))
    cells = embedding_cells(boxes, scales, size)
    moved = pick(displacement.flatten(-2).mT, cells) * STRIDES[0] / scales[..., None, None]
    return (boxes[..., :2] + boxes[..., 2:]) / 2 + moved


def motion_scores(centers: Tensor, tracks: TrackTable) -> Tensor:
    """
    Return how well former centers [..., D, 2] meet the tracks, [..., D, T], at most 1.

    A Gaussian of the distance; its width is half the mean side of the track's box, and grows with
    the root of the frames since the track was seen.
    """
    low, high = tracks.boxes[..., :2], tracks.boxes[..., 2:]
    width = ((high - low).mean(-1) / 2).clamp(min=1) * (tracks.missed + 1).sqrt()
    offsets = centers.unsqueeze(-2) - ((low + high) / 2).unsqueeze(-3)
    return (-offsets.square().sum(-1) / (2 * width.square().unsqueeze(-2))).exp()


def motion_loss(
    displacement: Tensor, cells: Tensor, truth: Tensor
) -> Tensor:
    """
    Return the smooth L1 loss of displacements [2, h, w] of an image at cells int64 [P].

    truth: [P, 2], former center minus center [pixel].
    """
    predicted = displacement.flatten(1)[:, cells].T
    return F.smooth_l1_loss(predicted, truth / STRIDES[0], reduction='sum') / 2
