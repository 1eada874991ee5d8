# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Which cell learns which object: FCOS with centre sampling (specification, section 10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from stmask_ros.families.sipmask.detection import Sizes, locations
from stmask_ros.families.sipmask.neck import STRIDES

# Half the side of the square around an object's center whose cells learn it [stride].
RADIUS = 1.5
# The largest distance to an edge of the box for which a level is responsible [pixel].
RANGES = ((-1.0, 64.0), (64.0, 128.0), (128.0, 256.0), (256.0, 512.0), (512.0, 1e8))


@dataclass(frozen=True)
class FrameTargets:
    """
    The objects of one image, and where they are in its reference image.

    boxes: [N, 4], to the centers of the outermost pixels [pixel of the network's input]. labels:
    int64 [N], 1 is the first class. masks: bool [N, H, W] over the padded input. reference_boxes:
    [M, 4], of all objects of the reference image. matches: int64 [N], 1 + the row of the same
    object there, 0 if it is absent.
    """

    boxes: Tensor
    labels: Tensor
    masks: Tensor
    reference_boxes: Tensor
    matches: Tensor

    def to(self, device: torch.device) -> FrameTargets:
        """Return the same objects on a device."""
        return FrameTargets(*(
            getattr(self, field.name).to(device, non_blocking=True) for field in fields(self)
        ))


@dataclass(frozen=True)
class Assignment:
    """
    What each cell of an image learns.

    objects: int64 [N], the row of an object, or -1 for the background. distances: [N, 4], from
    the cell to the left, top, right and bottom edge of that object's box [pixel].
    """

    objects: Tensor
    distances: Tensor


def assign(boxes: Tensor, level_sizes: Sizes) -> Assignment:
    """Match the cells of an image to objects of these boxes [N, 4]."""
    points = locations(level_sizes, boxes.device)
    low, high, strides = _by_cell(level_sizes, boxes.device)
    if len(boxes) == 0:
        nothing = torch.full((len(points),), -1, device=boxes.device)
        return Assignment(nothing, points.new_zeros(len(points), 4))
    distances = torch.cat((points[:, None] - boxes[:, :2], boxes[:, 2:] - points[:, None]), 2)
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    reach = RADIUS * strides[:, None, None]
    first, last = (center - reach).maximum(boxes[:, :2]), (center + reach).minimum(boxes[:, 2:])
    inside = ((points[:, None] > first) & (points[:, None] < last)).all(2)
    farthest = distances.amax(2)
    responsible = (farthest >= low[:, None]) & (farthest <= high[:, None])
    areas = (boxes[:, 2:] - boxes[:, :2] + 1).prod(1).expand(len(points), -1)
    smallest, objects = areas.masked_fill(~(inside & responsible), torch.inf).min(1)
    chosen = distances[torch.arange(len(points), device=boxes.device), objects]
    return Assignment(objects.masked_fill(smallest.isinf(), -1), chosen)


def _by_cell(level_sizes: Sizes, device: torch.device) -> Tensor:
    # [3, N]: the range of the distance, and the stride, of each cell's level.
    counts = torch.tensor([height * width for height, width in level_sizes])
    values = torch.tensor([
        (*limits, stride) for limits, stride in zip(RANGES, STRIDES, strict=True)
    ])
    return values.repeat_interleave(counts, 0).T.to(device)


def centerness_of(distances: Tensor) -> Tensor:
    """Return 1 [N] at the center of a box, to 0 at its edges; distances: [N, 4], positive."""
    left_right, top_bottom = distances[:, 0::2], distances[:, 1::2]
    return (
        left_right.amin(1) / left_right.amax(1) * (top_bottom.amin(1) / top_bottom.amax(1))
    ).sqrt()


@dataclass(frozen=True)
class Positives:
    """
    The P cells of a batch that learn an object, image by image.

    frames, cells, objects: int64 [P], rows of the batch, of the cells, and of the image's
    objects. boxes: [P, 4], labels, matches: int64 [P], see FrameTargets. centerness: [P].
    """

    frames: Tensor
    cells: Tensor
    objects: Tensor
    boxes: Tensor
    labels: Tensor
    matches: Tensor
    centerness: Tensor

    @classmethod
    def of(cls, targets: Sequence[FrameTargets], assignments: Sequence[Assignment]) -> Positives:
        """Collect them."""
        cells = [(a.objects >= 0).nonzero().squeeze(1) for a in assignments]
        objects = [a.objects[rows] for a, rows in zip(assignments, cells, strict=True)]
        distances = [a.distances[rows] for a, rows in zip(assignments, cells, strict=True)]
        seen = list(zip(targets, objects, strict=True))
        return cls(
            torch.cat([torch.full_like(rows, frame) for frame, rows in enumerate(cells)]),
            torch.cat(cells),
            torch.cat(objects),
            torch.cat([target.boxes[rows] for target, rows in seen]),
            torch.cat([target.labels[rows] for target, rows in seen]),
            torch.cat([target.matches[rows] for target, rows in seen]),
            centerness_of(torch.cat(distances)),
        )

    def rows(self, chosen: Tensor) -> Positives:
        """Return the rows that a bool [P] or int64 tensor chooses."""
        return Positives(*(getattr(self, field.name)[chosen] for field in fields(self)))
