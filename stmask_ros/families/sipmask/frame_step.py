# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The part of a step that a device computes: from pixels and memories to tracks and memories.

A frame alone has tables as long as they are; a batch has tables of one length, so that nothing
waits for the device or depends on the values: see layers/rows.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from stmask_ros.families.sipmask.config import SipMaskConfig
from stmask_ros.families.sipmask.detection import Survivors, detect
from stmask_ros.families.sipmask.follow import follow
from stmask_ros.families.sipmask.host_tracks import packed
from stmask_ros.families.sipmask.masks import STRIDE, assemble
from stmask_ros.families.sipmask.memory import StreamMemory
from stmask_ros.families.sipmask.network import Predictions, embedding_cells
from stmask_ros.families.sipmask.preprocess import normalised
from stmask_ros.families.sipmask.tracks import SipMaskTracker, TrackTable


class MaskNetwork(Protocol):
    """What a step needs of a network: SipMask, or SG-Net."""

    @property
    def config(self) -> SipMaskConfig:
        """Its configuration."""
        ...

    def __call__(self, images: Tensor) -> Predictions:
        """images: float32 [B, 3, H, W]."""
        ...

    def coefficients_at(
        self, predictions: Predictions, frame: int | slice, cells: Tensor, boxes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return coefficients and grids; boxes: [..., D, 4] [pixel of the prototypes]."""
        ...

    def embeddings_at(
        self, predictions: Predictions, frame: int | slice, cells: Tensor
    ) -> Tensor:
        """Return embeddings [..., D, size]."""
        ...

    def motion(
        self, predictions: Predictions, frame: int | slice, former: Tensor, detections: Survivors,
        tracks: TrackTable, scales: Tensor,
    ) -> tuple[Tensor | None, Tensor]:
        """
        Return how well motion joins detections and tracks [..., D, T], and what to remember.

        former: what it remembered of the frame before, [B, ...].
        """
        ...


@dataclass(frozen=True)
class StepInput:
    """
    One frame, or a batch.

    pixels, sizes: see padded_batch(). scales: float32 [B], from images to the network's pixels.
    former, tracks: see StreamMemory; the tracks [N] or [B, N]. next_id, stamp: of the frame; of a
    batch int64 [B, 1].
    """

    pixels: Tensor
    sizes: Tensor
    scales: Tensor
    former: Tensor
    tracks: TrackTable
    next_id: int | Tensor
    stamp: int | Tensor


@dataclass(frozen=True)
class StepOutput:
    """
    Of one frame, or with a B in front of a batch.

    detections: see Survivors. claims: see Followed. soft: masks of the detections, [D, H / 2,
    W / 2]. host_values: see packed(). remembered, former: for the next frame, see StreamMemory.
    """

    detections: Survivors
    claims: Tensor
    soft: Tensor
    host_values: Tensor
    remembered: TrackTable
    former: Tensor

    def memories(self, counts: Sequence[int]) -> list[StreamMemory]:
        """Return what each frame leaves to the next: so many tracks, and its features."""
        if self.remembered.ids.dim() == 1:
            return [StreamMemory(self.remembered, self.former)]
        tables = self.remembered.frames(counts)
        return [
            StreamMemory(tracks, self.former[i:i + 1].clone()) for i, tracks in enumerate(tables)
        ]


def compute(network: MaskNetwork, inputs: StepInput, rules: SipMaskTracker) -> StepOutput:
    """Run the network and the tracker. Of a batch nothing is read by the host on the way."""
    now = network(normalised(inputs.pixels, inputs.sizes))
    frame: int | slice = 0 if inputs.tracks.ids.dim() == 1 else slice(None)
    sizes, scales = inputs.sizes[frame], inputs.scales[frame]
    found = detect(now.head.towers, frame, sizes, scales, rules.detection)
    cells = embedding_cells(found.boxes, scales, now.head.towers.level_sizes[0])
    embeddings = network.embeddings_at(now, frame, cells)
    moved, former = network.motion(now, frame, inputs.former, found, inputs.tracks, scales)
    followed = follow(
        inputs.tracks, found, embeddings, inputs.next_id, inputs.stamp, rules, moved
    )
    forgotten = followed.tracks.forgotten(rules)
    remembered = followed.tracks.only(followed.tracks.valid & ~forgotten)
    return StepOutput(
        found, followed.claims, soft_masks(network, now, frame, found, scales),
        packed(followed, found, forgotten, rules.shown_class), remembered, former,
    )


def soft_masks(
    network: MaskNetwork, now: Predictions, frame: int | slice, found: Survivors, scales: Tensor
) -> Tensor:
    """Return the detections' masks over the network's input, [..., D, H / 2, W / 2]."""
    boxes = found.boxes * scales[..., None, None] / STRIDE
    coefficients, grids = network.coefficients_at(now, frame, found.cells, boxes)
    return assemble(now.head.prototypes[frame], coefficients, boxes, grids)
