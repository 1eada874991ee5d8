# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What tracks look like to the network that found them: their embeddings, on the host."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from stmask_ros.masks import Float32Array, Int64Array


@dataclass(frozen=True)
class Appearance:
    """
    The embeddings of the N tracks that a stream remembers.

    ids: int64 [N]. embeddings: float32 [N, size], of length 1: a product of two is their cosine.
    """

    ids: Int64Array
    embeddings: Float32Array

    @classmethod
    def of(cls, ids: Int64Array, embeddings: Tensor) -> Appearance:
        """Return the appearance of tracks; embeddings: [N, size] of any length and precision."""
        units = F.normalize(embeddings.float(), dim=-1)
        return cls(ids, np.asarray(units.cpu().numpy(), np.float32))

    def of_track(self, track_id: int) -> Float32Array | None:
        """Return the embedding [size] of a track; None if it is not remembered."""
        (rows,) = np.nonzero(self.ids == track_id)
        return self.embeddings[rows[0]] if len(rows) else None
