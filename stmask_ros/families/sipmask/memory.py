# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What a stream remembers between two frames."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stmask_ros.families.sipmask.config import SipMaskConfig
from stmask_ros.families.sipmask.tracks import TrackTable


@dataclass(frozen=True)
class StreamMemory:
    """
    A value, never changed.

    tracks: that the next frame is compared with. former: what SG-Net's motion head keeps of the
    frame, [1, channels, h, w]; without one, and before the first frame, [1, 0, 0, 0].
    """

    tracks: TrackTable
    former: Tensor

    @classmethod
    def empty(cls, config: SipMaskConfig, device: torch.device) -> StreamMemory:
        """Return the memory of a stream of which nothing was seen."""
        return cls(TrackTable.empty(config, device), torch.zeros(1, 0, 0, 0, device=device))
