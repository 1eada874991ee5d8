# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What the host reads of a frame's tracks: all of it in one copy from the device."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from stmask_ros.families.class_thresholds import are_off, lowest_scores
from stmask_ros.families.stmask.masks import BINARY_THRESHOLD
from stmask_ros.families.stmask.preprocess import Extent
from stmask_ros.families.stmask.tracks import TrackerConfig, TrackTable
from stmask_ros.layers.boxes import center_size
from stmask_ros.masks import BoolArray, Float32Array, Int64Array

_INTEGERS = (
    'ids', 'classes', 'ages', 'hits', 'missed', 'first_seen', 'last_detected', 'reported',
)


def packed(tracks: TrackTable, visible: Tensor) -> Tensor:
    """
    Return what the host reads of tracks [N] or [B, N], as one int64 tensor [15, N] or [15, B, N].

    visible: bool, of each track, see visible_tracks(). The fractions among it are the bits of
    doubles, which hold them exactly.
    """
    integers = [getattr(tracks, name) for name in _INTEGERS]
    integers.append(visible.long())
    fractions = [tracks.scores, tracks.detection_scores, *tracks.boxes.unbind(-1)]
    bits = torch.stack(fractions).double().view(torch.int64)
    return torch.cat((torch.stack(integers), bits))


def visible_tracks(tracks: TrackTable, extent: Extent, config: TrackerConfig) -> Tensor:
    """
    Return which tracks can be shown, bool [N] or [B, N].

    Those that are strong, with a mask, and centered in the image (specification, 9 and 11), and
    not undetected for longer than their detections vouch for.
    """
    center = center_size(tracks.boxes)
    lowest: float | Tensor = config.score_threshold
    if config.class_thresholds:
        lowest = lowest_scores(config.class_thresholds, tracks.classes)
    visible = (
        (tracks.scores > lowest)
        & ((tracks.masks > BINARY_THRESHOLD).sum((-2, -1)) > config.min_mask_area)
        & (center[..., 0] <= extent.width)
        & (center[..., 1] <= extent.height)
    )
    if config.coasting_per_hit is not None:
        visible &= tracks.missed <= config.coasting_per_hit * tracks.hits
    return visible


@dataclass(frozen=True)
class HostTracks:
    """
    The N tracks of one frame, on the host.

    visible: bool [N], to be shown unless it was missed for too long. The others as of TrackTable.
    """

    ids: Int64Array
    classes: Int64Array
    ages: Int64Array
    hits: Int64Array
    missed: Int64Array
    first_seen: Int64Array
    last_detected: Int64Array
    reported: Int64Array
    visible: BoolArray
    scores: Float32Array
    detection_scores: Float32Array
    boxes: Float32Array

    @classmethod
    def read(cls, values: Tensor) -> list[HostTracks]:
        """Wait for what packed() returned; return the tracks of each frame."""
        frames = values if values.dim() == 3 else values.unsqueeze(1)
        return [cls._of(frame) for frame in frames.cpu().numpy().swapaxes(0, 1)]

    @classmethod
    def _of(cls, values: Int64Array) -> HostTracks:
        integers, visible = values[:len(_INTEGERS)], values[len(_INTEGERS)] > 0
        fractions = values[len(_INTEGERS) + 1:].copy().view(np.float64).astype(np.float32)
        ids, classes, ages, hits, missed, first_seen, last_detected, reported = integers
        return cls(
            ids, classes, ages, hits, missed, first_seen, last_detected, reported, visible,
            fractions[0], fractions[1], fractions[2:].T,
        )

    def gone(self, config: TrackerConfig) -> BoolArray:
        """Bool [N]: missed for too long to be shown."""
        return self.missed > config.max_missed

    def ended(self, config: TrackerConfig) -> BoolArray:
        """Bool [N]: forgotten after this frame."""
        ended = self.gone(config) & (config.retirement != 'never')
        return ended | are_off(config.class_thresholds, self.classes)

    def shown(self, config: TrackerConfig) -> Int64Array:
        """Return the rows that a result shows: an end only of what was shown before."""
        visible = self.visible & ~self.gone(config) & ~self.ended(config)
        ended = self.ended(config) & (self.reported > 0)
        return np.flatnonzero((self.ids > 0) & (visible | ended))

    def remembered(self, config: TrackerConfig) -> int:
        """Return how many tracks there are after this frame."""
        return int(np.count_nonzero((self.ids > 0) & ~self.ended(config)))

    def born(self) -> int:
        """Return how many tracks are new."""
        return int(np.count_nonzero((self.ids > 0) & (self.ages == 1)))

    def rows(self, index: Int64Array) -> HostTracks:
        """Return the chosen rows."""
        return HostTracks(*(getattr(self, f.name)[index] for f in fields(self)))
