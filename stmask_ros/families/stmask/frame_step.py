"""The part of a step that a device computes: from pixels and tracks to tracks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass

import torch
from torch import Tensor

from stmask_ros.families.stmask.follow import follow
from stmask_ros.families.stmask.network import STMask
from stmask_ros.families.stmask.preprocess import Geometry, normalised
from stmask_ros.families.stmask.report import packed
from stmask_ros.families.stmask.temporal_fusion import TemporalFeatures
from stmask_ros.families.stmask.tracks import StreamState, TrackerConfig, TrackTable

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
    def alone(cls, pixels: Tensor, state: StreamState, stamp: int) -> StepInput:
        """Return one frame and its stream's state."""
        return cls(pixels, state.features, state.tracks, state.next_id, stamp)

    @classmethod
    def padded(
        cls, pixels: Tensor, states: Sequence[StreamState], stamps: Sequence[int], network: STMask
    ) -> StepInput:
        """Return copies of the states as a batch, their tables padded to a power of two rows."""
        none = TemporalFeatures.none(network.config, network.dtype, pixels.device)
        rows = padded_rows(max(len(state.tracks) for state in states))
        numbers = torch.tensor([[s.next_id for s in states], stamps]).to(pixels.device)
        next_ids, stamp_column = numbers.unsqueeze(-1)
        return cls(
            pixels,
            TemporalFeatures.stacked([state.features or none for state in states]),
            TrackTable.stacked([state.tracks for state in states], rows),
            next_ids, stamp_column,
        )

    def tensors(self) -> list[Tensor]:
        """Return the tensors of a batch, always in one order."""
        return _tensors(self)


@dataclass(frozen=True)
class StepOutput:
    """
    Of one frame, or with a B in front of a batch.

    report: see report.packed(). masks: soft, [N, H / 4, W / 4], of the rows of the report.
    remembered: for the next frame. features: [B, ...] of the frames.
    """

    report: Tensor
    masks: Tensor
    remembered: TrackTable
    features: TemporalFeatures

    def frames(self, counts: Sequence[int]) -> list[tuple[TrackTable, TemporalFeatures]]:
        """Return what each frame leaves to the next: its tracks, so many, and its features."""
        if self.remembered.ids.dim() == 1:
            return [(self.remembered, self.features)]
        return list(zip(self.remembered.frames(counts), self.features.frames(), strict=True))


def padded_rows(count: int) -> int:
    """Return how many rows a table of a batch has: few lengths, so that steps are alike."""
    return max(FEWEST_ROWS, 1 << (count - 1).bit_length())


def compute(
    network: STMask, geometry: Geometry, inputs: StepInput, tracker: TrackerConfig
) -> StepOutput:
    """Run the network and the tracker. Of a batch nothing is read by the host on the way."""
    now = network(normalised(inputs.pixels, network.config))
    alone = inputs.tracks.ids.dim() == 1
    shown, remembered = follow(
        network, now, 0 if alone else slice(None), inputs.previous, inputs.tracks,
        inputs.next_id, inputs.stamp, tracker,
    )
    return StepOutput(
        packed(shown, geometry, tracker), shown.masks, remembered.kept(tracker), now.temporal
    )


def _tensors(value: object) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    assert is_dataclass(value), 'of a batch, everything is a tensor'
    return [t for f in fields(value) for t in _tensors(getattr(value, f.name))]
