# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A network on a device: frames and memories in, shown tracks and memories out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch

from stmask_ros.families.appearance import Appearance
from stmask_ros.families.family import ShownTracks, StepResult, StreamFrame
from stmask_ros.families.frames import Image, ScaledImage, Size
from stmask_ros.families.sipmask.frame_step import MaskNetwork, StepInput, StepOutput, compute
from stmask_ros.families.sipmask.host_tracks import HostTracks
from stmask_ros.families.sipmask.masks import binary_masks
from stmask_ros.families.sipmask.memory import StreamMemory
from stmask_ros.families.sipmask.preprocess import geometry_of, padded_batch, scale_of, scaled
from stmask_ros.families.sipmask.tracks import SipMaskTracker, TrackTable
from stmask_ros.layers.captured import CapturingStep
from stmask_ros.masks import RegionMask

FEWEST_ROWS = 16

Frames = Sequence[StreamFrame[StreamMemory]]
Compute = Callable[[StepInput, SipMaskTracker], StepOutput]


class SipMaskStepper:
    """Steps SipMask, or SG-Net, on a device; keeps nothing of the streams that it serves."""

    latency_frames = 0

    def __init__(self, network: MaskNetwork, device: torch.device, in_batches: bool) -> None:
        """network: prepared for inference on the device."""
        self.network = network
        self._device = device
        self._in_batches = in_batches
        self.compute: Compute = partial(compute, network)
        if device.type == 'cuda':
            self.compute = CapturingStep(self.compute)

    def scaled_size(self, size: Size) -> Size:
        """Return the size at which the network sees an image of this size."""
        return geometry_of(size, self.network.config).scaled

    def scaled(self, image: Image) -> ScaledImage:
        """Return an image, uint8 BGR [H, W, 3], as the network sees it."""
        return scaled(image, self.network.config)

    def initial_memory(self) -> StreamMemory:
        """Return the memory of a stream of which nothing was seen yet."""
        return StreamMemory.empty(self.network.config, self._device)

    def appearance(self, memory: StreamMemory) -> Appearance:
        """Return the embeddings of the remembered tracks, of their last detections."""
        return Appearance.of(memory.tracks.ids.cpu().numpy(), memory.tracks.embeddings)

    def step(
        self, frames: Frames, tracker: SipMaskTracker
    ) -> list[StepResult[StreamMemory]]:
        """Segment and track one new frame of each of several streams of one padded size."""
        output = self.compute(self._inputs(frames), tracker)
        tables = HostTracks.read(output.host_values)
        memories = output.memories([table.remembered() for table in tables])
        return [
            StepResult(self._shown(frame, table.shown(), output, i), table.born(), memory)
            for i, (frame, table, memory) in enumerate(zip(frames, tables, memories, strict=True))
        ]

    def _inputs(self, frames: Frames) -> StepInput:
        pixels, sizes = padded_batch([frame.image for frame in frames])
        scales = torch.tensor([self._scale(frame) for frame in frames], dtype=torch.float32)
        pixels, sizes, scales = (each.to(self._device) for each in (pixels, sizes, scales))
        former = torch.cat([frame.memory.former for frame in frames])
        if not self._in_batches:
            (frame,) = frames
            return StepInput(
                pixels, sizes, scales, former, frame.memory.tracks, frame.next_id, frame.stamp
            )
        tables = [frame.memory.tracks for frame in frames]
        rows = max(FEWEST_ROWS, 1 << (max(map(len, tables)) - 1).bit_length())
        numbers = torch.tensor([[f.next_id for f in frames], [f.stamp for f in frames]])
        next_ids, stamps = numbers.to(self._device).unsqueeze(-1)
        tracks = TrackTable.stacked(tables, rows)
        return StepInput(pixels, sizes, scales, former, tracks, next_ids, stamps)

    def _scale(self, frame: StreamFrame[StreamMemory]) -> float:
        return scale_of(frame.image.geometry.image, self.network.config)

    def _shown(
        self, frame: StreamFrame[StreamMemory], tracks: HostTracks, output: StepOutput, row: int
    ) -> ShownTracks:
        # Boxes and masks in pixels of the frame, of which the image may be a smaller version.
        image = frame.image.geometry.image
        larger = [full / seen for full, seen in zip(frame.size, image, strict=True)]
        soft = output.soft if output.soft.dim() == 3 else output.soft[row]
        seen = tracks.owners >= 0
        owners = torch.from_numpy(tracks.owners[seen]).to(soft.device)
        scale = self._scale(frame)
        pixels = iter(binary_masks(
            soft[owners], (scale / larger[0], scale / larger[1]), frame.size
        ))
        return ShownTracks(
            tracks.ids, tracks.classes, tracks.scores, tracks.scores, tracks.ages, tracks.hits,
            tracks.missed, tracks.first_seen, tracks.last_detected, tracks.forgotten,
            tracks.boxes * np.array(larger[::-1] * 2),
            [next(pixels) if has_one else RegionMask.empty() for has_one in seen],
        )
