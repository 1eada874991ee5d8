# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Steps of STMask: frames and memories in, the tracks that are shown and memories out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from stmask_ros.families.appearance import Appearance
from stmask_ros.families.family import PrototypeMaps, ShownTracks, StepResult, StreamFrame
from stmask_ros.families.frames import Image, ScaledImage, Size
from stmask_ros.families.stmask.frame_step import StepInput, StepOutput, compute
from stmask_ros.families.stmask.host_tracks import HostTracks
from stmask_ros.families.stmask.masks import image_masks, visible_part
from stmask_ros.families.stmask.network import STMask
from stmask_ros.families.stmask.preprocess import Extent, normalised, on_device, scaled
from stmask_ros.families.stmask.tracks import StreamMemory, TrackerConfig, TrackTable
from stmask_ros.layers.boxes import center_size, decode
from stmask_ros.layers.captured import CapturingStep
from stmask_ros.masks import Float32Array, Int64Array, RegionMask

Frames = Sequence[StreamFrame[StreamMemory]]
Compute = Callable[[StepInput, TrackerConfig], StepOutput]


class STMaskStepper:
    """A network as inference.prepared_for_inference() returns it, ready to step."""

    latency_frames = 0

    def __init__(self, network: STMask, device: torch.device, in_batches: bool) -> None:
        """in_batches: compute frames together, in tables of fixed lengths (layers/rows.py)."""
        self.network = network
        self._device = device
        self._in_batches = in_batches
        self._extent = Extent.of(network.config)
        self.compute: Compute = partial(compute, network, self._extent)
        self.compute_batch: Compute = self.compute
        if device.type == 'cuda':
            self.compute_batch = CapturingStep(self.compute)

    def scaled_size(self, _size: Size) -> Size:
        """Return the configured size, whatever an image has."""
        return self.network.config.input_height, self.network.config.input_width

    def scaled(self, image: Image) -> ScaledImage:
        """Return an image as the network sees it."""
        return scaled(image, self.network.config)

    def initial_memory(self) -> StreamMemory:
        """Return no tracks and no features."""
        return StreamMemory(TrackTable.empty(self.network.config, self._device), None)

    def appearance(self, memory: StreamMemory) -> Appearance:
        """Return the embeddings of the remembered tracks, of their last detections."""
        return Appearance.of(memory.tracks.ids.cpu().numpy(), memory.tracks.embeddings)

    def step(self, frames: Frames, tracker: TrackerConfig) -> list[StepResult[StreamMemory]]:
        """Segment and track one new frame of each of several streams."""
        # Greedy suppression has to read how many boxes there are.
        if self._in_batches and tracker.nms != 'greedy':
            return self._results(frames, self._computed_together(frames, tracker), tracker)
        return [
            result for frame in frames
            for result in self._results([frame], self._computed_alone(frame, tracker), tracker)
        ]

    def prototype_maps(self, image: ScaledImage) -> PrototypeMaps:
        """Return the prototypes of an image."""
        pixels = on_device([image.pixels], self._device)
        now = self.network(normalised(pixels, self.network.config))
        prototypes = visible_part(now.prototypes[0].movedim(-1, 0), self._extent)
        return PrototypeMaps(prototypes.cpu().numpy(), now.temporal)

    def carried_boxes(
        self, before: PrototypeMaps, now: PrototypeMaps, boxes: Float32Array
    ) -> Float32Array:
        """Return where objects are in the next image; where they were without temporal fusion."""
        if self.network.TemporalNet is None or not len(boxes):
            return boxes
        extent = torch.tensor([self._extent.width, self._extent.height] * 2, device=self._device)
        inside = torch.from_numpy(boxes).to(self._device) * extent
        frames = torch.zeros(len(boxes), dtype=torch.int64, device=self._device)
        deltas, _ = self.network.propagate(before.temporal, now.temporal, inside, frames)
        carried = decode(deltas, center_size(inside), self.network.config.variances)
        return (carried / extent).cpu().numpy()

    def _computed_together(self, frames: Frames, tracker: TrackerConfig) -> StepOutput:
        pixels = on_device([frame.image.pixels for frame in frames], self._device)
        return self.compute_batch(StepInput.padded(
            pixels, [f.memory for f in frames], [f.next_id for f in frames],
            [f.stamp for f in frames], self.network,
        ), tracker)

    def _computed_alone(
        self, frame: StreamFrame[StreamMemory], tracker: TrackerConfig
    ) -> StepOutput:
        pixels = on_device([frame.image.pixels], self._device)
        return self.compute(
            StepInput.alone(pixels, frame.memory, frame.next_id, frame.stamp), tracker
        )

    def _results(
        self, frames: Frames, output: StepOutput, tracker: TrackerConfig
    ) -> list[StepResult[StreamMemory]]:
        tracks = HostTracks.read(output.host_values)
        memories = output.memories([its.remembered(tracker) for its in tracks])
        rows = [its.shown(tracker) for its in tracks]
        masks = self._masks([frame.size for frame in frames], output.masks, rows)
        return [
            StepResult(self._shown(its.rows(rows[i]), frame.size, masks[i], tracker),
                       its.born(), memories[i])
            for i, (frame, its) in enumerate(zip(frames, tracks, strict=True))
        ]

    def _masks(
        self, sizes: Sequence[Size], soft: Tensor, rows: Sequence[Int64Array]
    ) -> list[list[RegionMask]]:
        # In pixels of each frame; frames of one size together.
        soft = visible_part(soft.view(len(sizes), -1, *soft.shape[-2:]), self._extent)
        masks: list[list[RegionMask]] = [[] for _ in sizes]
        for size in set(sizes):
            frames = [i for i, its in enumerate(sizes) if its == size]
            frame = torch.from_numpy(np.repeat(frames, [len(rows[i]) for i in frames]))
            row = torch.from_numpy(np.concatenate([rows[i] for i in frames]))
            pixels = iter(image_masks(soft[frame.to(soft.device), row.to(soft.device)], *size))
            for i in frames:
                masks[i] = [next(pixels) for _ in rows[i]]
        return masks

    def _shown(
        self, tracks: HostTracks, size: Size, masks: Sequence[RegionMask], tracker: TrackerConfig
    ) -> ShownTracks:
        height, width = size
        scale = np.array([width / self._extent.width, height / self._extent.height] * 2)
        return ShownTracks(
            ids=tracks.ids,
            classes=tracks.classes,
            scores=tracks.scores,
            detection_scores=tracks.detection_scores,
            ages=tracks.ages,
            hits=tracks.hits,
            missed=tracks.missed,
            first_seen=tracks.first_seen,
            last_detected=tracks.last_detected,
            ended=tracks.ended(tracker),
            boxes=tracks.boxes * scale,
            masks=masks,
        )
