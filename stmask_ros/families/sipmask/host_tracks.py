# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What the host reads of a frame's tracks: all of it in one copy from the device."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from stmask_ros.families.sipmask.detection import Survivors
from stmask_ros.families.sipmask.follow import Followed
from stmask_ros.layers.rows import pick
from stmask_ros.masks import BoolArray, Float32Array, Int64Array

_OF_TRACKS = ('ids', 'ages', 'hits', 'missed', 'first_seen', 'last_detected')


def packed(
    followed: Followed, detections: Survivors, forgotten: Tensor,
    shown_class: Literal['vote', 'detected'],
) -> Tensor:
    """
    Return what the host reads of tracks [N] or [B, N], as one int64 tensor [14, N] or [14, B, N].

    forgotten: bool [N], after this frame. The fractions are the bits of doubles.
    """
    tracks = followed.tracks
    classes = tracks.votes.argmax(-1) + 1
    if shown_class == 'detected' and len(detections):
        detected = pick(detections.classes, followed.owners.clamp(min=0))
        classes = torch.where(followed.owners >= 0, detected, tracks.classes)
    integers = [getattr(tracks, name) for name in _OF_TRACKS]
    integers += [classes, followed.owners, forgotten.long()]
    bits = torch.stack([tracks.scores, *tracks.boxes.unbind(-1)]).double().view(torch.int64)
    return torch.cat((torch.stack(integers), bits))


@dataclass(frozen=True)
class HostTracks:
    """
    The N tracks of one frame, on the host.

    owners: int64 [N], the detection that each shows, or -1. forgotten: bool [N], after this
    frame. boxes: [N, 4] [pixel of the image]. The others as of TrackTable.
    """

    ids: Int64Array
    ages: Int64Array
    hits: Int64Array
    missed: Int64Array
    first_seen: Int64Array
    last_detected: Int64Array
    classes: Int64Array
    owners: Int64Array
    forgotten: BoolArray
    scores: Float32Array
    boxes: Float32Array

    @classmethod
    def read(cls, values: Tensor) -> list[HostTracks]:
        """Wait for what packed() returned; return the tracks of each frame."""
        frames = values if values.dim() == 3 else values.unsqueeze(1)
        return [cls._of(frame) for frame in frames.cpu().numpy().swapaxes(0, 1)]

    @classmethod
    def _of(cls, values: Int64Array) -> HostTracks:
        ids, ages, hits, missed, first_seen, last_detected, classes, owners, forgotten = (
            values[:9]
        )
        fractions = values[9:].copy().view(np.float64).astype(np.float32)
        return cls(
            ids, ages, hits, missed, first_seen, last_detected, classes, owners, forgotten > 0,
            fractions[0], fractions[1:].T,
        )

    @property
    def used(self) -> BoolArray:
        """Bool [N]: rows that are tracks."""
        return self.ids > 0

    def shown(self) -> HostTracks:
        """Return those that a result shows: detected now, or given up after this frame."""
        rows = np.flatnonzero(self.used & ((self.owners >= 0) | self.forgotten))
        return HostTracks(*(getattr(self, f.name)[rows] for f in fields(self)))

    def remembered(self) -> int:
        """Return how many tracks there are after this frame."""
        return int(np.count_nonzero(self.used & ~self.forgotten))

    def born(self) -> int:
        """Return how many tracks are new."""
        return int(np.count_nonzero(self.used & (self.ages == 1)))
