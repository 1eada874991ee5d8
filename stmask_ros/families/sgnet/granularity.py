# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Into how many sub-regions a box is divided (specification, sections 3 to 5)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from stmask_ros.families.sipmask.detection import Sizes


def grids_of(areas: Tensor, grids: Sequence[int], thresholds: Sequence[float]) -> Tensor:
    """Return the place among the grids, int64 [...], of areas [...] [pixel of the prototypes]."""
    place = torch.zeros_like(areas, dtype=torch.int64)
    for threshold in thresholds:
        place = place + (areas > threshold)
    return place.clamp(max=len(grids) - 1)


def box_areas(boxes: Tensor) -> Tensor:
    """Return the areas [...] of boxes [..., 4]; negative, of one that is inverted."""
    return (boxes[..., 2:] - boxes[..., :2]).prod(-1)


def level_areas(distances: Tensor, level_sizes: Sizes) -> Tensor:
    """
    Return what the published code takes for the mean area of a level's boxes, [..., levels].

    distances: [..., N, 4], of all cells [pixel]. It multiplies differences of distances, so that
    a box around its cell has an area near 0.
    """
    left, top, right, bottom = distances.unbind(-1)
    areas = (right - left) * (bottom - top)
    parts = areas.split([height * width for height, width in level_sizes], -1)
    return torch.stack([part.mean(-1) for part in parts], -1)


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # what is kept must serve training as well
def levels_of_cells(level_sizes: Sizes, device: torch.device) -> Tensor:
    """Return the level of each cell, int64 [N], 0 for P3."""
    levels = [
        torch.full((height * width,), level) for level, (height, width) in enumerate(level_sizes)
    ]
    return torch.cat(levels).to(device)
