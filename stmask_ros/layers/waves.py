# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""An input for a network that has yet to see an image."""

from __future__ import annotations

import torch
from torch import Tensor


def moving_waves(size: tuple[int, int], frames: int = 2) -> Tensor:
    """Return normalised frames, float32 [frames, 3, height, width], of waves that move."""
    height, width = size
    rows = torch.arange(height).view(1, 1, -1, 1) / 23
    columns = torch.arange(width).view(1, 1, 1, -1) / 31
    phases = torch.arange(3 * frames).view(frames, 3, 1, 1)
    return 2 * torch.sin(rows + columns + phases)
