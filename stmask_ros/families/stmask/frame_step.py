# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The part of a step that a device computes: from pixels and tracks to tracks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stmask_ros.families.stmask.follow import follow
from stmask_ros.families.stmask.host_tracks import packed, visible_tracks
from stmask_ros.families.stmask.network import STMask
from stmask_ros.families.stmask.preprocess import Extent, normalised
from stmask_ros.families.stmask.temporal_fusion import TemporalFeatures
from stmask_ros.families.stmask.tracks import StreamMemory, TrackerConfig, TrackTable

FEWEST_ROWS = 16


@dataclass(frozen=True)
class StepInput:
    """
    One frame with tables as long as they are, or a batch with tables of one length.

    pixels: uint8 BGR [B, h, w, 3] of the network's size. previous: features of the frames before;
    may be None for one frame, before its first. tracks: as remembered, [N] or [B, N].
    next_id, stamp: of the frame; of a batch int64 [B, 1].
    """

    pixels: Tensor
    previous: TemporalFeatures | None
    tracks: TrackTable
    next_id: int | Tensor
    stamp: int | Tensor

    @classmethod
    def alone(cls, pixels: Tensor, memory: StreamMemory, next_id: int, stamp: int) -> StepInput:
        """Return one frame and its stream's memory."""
        return cls(pixels, memory.features, memory.tracks, next_id, stamp)

    @classmethod
    def padded(
        cls, pixels: Tensor, memories: Sequence[StreamMemory], next_ids: Sequence[int],
        stamps: Sequence[int], network: STMask,
    ) -> StepInput:
        """Return copies of the memories as a batch, their tables padded to a power of two rows."""
        none = TemporalFeatures.none(network.config, network.dtype, pixels.device)
        rows = padded_rows(max(len(memory.tracks) for memory in memories))
        numbers = torch.tensor([list(next_ids), list(stamps)]).to(pixels.device)
        next_id_column, stamp_column = numbers.unsqueeze(-1)
        return cls(
            pixels,
            TemporalFeatures.stacked([memory.features or none for memory in memories]),
            TrackTable.stacked([memory.tracks for memory in memories], rows),
            next_id_column, stamp_column,
        )


@dataclass(frozen=True)
class StepOutput:
    """
    Of one frame, or with a B in front of a batch.

    host_values: see host_tracks.packed(). masks: soft, [N, H / 4, W / 4], of the same tracks.
    remembered: for the next frame. features: [B, ...] of the frames.
    """

    host_values: Tensor
    masks: Tensor
    remembered: TrackTable
    features: TemporalFeatures

    def memories(self, counts: Sequence[int]) -> list[StreamMemory]:
        """Return what each frame leaves to the next: so many tracks, and its features."""
        if self.remembered.ids.dim() == 1:
            return [StreamMemory(self.remembered, self.features)]
        tracks = self.remembered.frames(counts)
        return list(map(StreamMemory, tracks, self.features.frames()))


def padded_rows(count: int) -> int:
    """Return how many rows a table of a batch has: few lengths, so that steps are alike."""
    return max(FEWEST_ROWS, 1 << (count - 1).bit_length())


def compute(
    network: STMask, extent: Extent, inputs: StepInput, tracker: TrackerConfig
) -> StepOutput:
    """Run the network and the tracker. Of a batch nothing is read by the host on the way."""
    now = network(normalised(inputs.pixels, network.config))
    alone = inputs.tracks.ids.dim() == 1
    current, remembered = follow(
        network, now, 0 if alone else slice(None), inputs.previous, inputs.tracks,
        inputs.next_id, inputs.stamp, tracker,
    )
    visible = visible_tracks(current, extent, tracker)
    reported = visible & (current.missed <= tracker.max_missed)
    remembered = replace(remembered, reported=remembered.reported | reported)
    return StepOutput(
        packed(current, visible), current.masks, remembered.kept(tracker), now.temporal
    )
