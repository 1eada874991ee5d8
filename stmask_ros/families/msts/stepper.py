# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Steps of MS-STS: the window moves on by a frame, and its slots become tracks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from stmask_ros.families.appearance import Appearance
from stmask_ros.families.family import ShownTracks, StepResult, StreamFrame, VideoInstance
from stmask_ros.families.frames import Geometry, Image, ScaledImage, Size
from stmask_ros.families.msts.association import Association, associate
from stmask_ros.families.msts.grid import Grid
from stmask_ros.families.msts.masks import aligned_bilinear
from stmask_ros.families.msts.network import MSTS
from stmask_ros.families.msts.preprocess import network_size, normalised, resized
from stmask_ros.families.msts.selection import image_logits
from stmask_ros.families.msts.slots import Slots, find_slots
from stmask_ros.families.msts.tracks import StreamMemory, TrackerConfig
from stmask_ros.families.msts.whole_video import segment_video
from stmask_ros.families.msts.window import Window
from stmask_ros.masks import RegionMask

Frame = StreamFrame[StreamMemory]


class MSTSStepper:
    """A network as inference.prepared_for_inference() returns it, ready to step."""

    latency_frames = 0

    def __init__(self, network: MSTS, device: torch.device) -> None:
        """Each frame is computed alone: a stream never depends on those beside it."""
        self.network = network
        self._device = device

    def scaled_size(self, size: Size) -> Size:
        """Return the size of an image with the configured short side."""
        return network_size(size, self.network.config.short_side)

    def scaled(self, image: Image) -> ScaledImage:
        """Return an image as the network sees it."""
        pixels = resized(image, self.network.config.short_side)
        size = (pixels.shape[0], pixels.shape[1])
        return ScaledImage(pixels, Geometry((image.shape[0], image.shape[1]), size, size))

    def initial_memory(self) -> StreamMemory:
        """Return no frames and no tracks."""
        return StreamMemory.nothing(self.network.config, self._device)

    def appearance(self, memory: StreamMemory) -> Appearance:
        """Return the embeddings of the remembered tracks, of their last detections."""
        return Appearance.of(memory.tracks.ids, memory.tracks.embeddings)

    def step(
        self, frames: Sequence[Frame], tracker: TrackerConfig
    ) -> list[StepResult[StreamMemory]]:
        """Segment and track one new frame of each of several streams."""
        return [self._step(frame, tracker) for frame in frames]

    def whole_video(self, images: Sequence[ScaledImage], size: Size) -> list[VideoInstance]:
        """See segment_video()."""
        return segment_video(self.network, images, size, self._device)

    def _step(self, frame: Frame, tracker: TrackerConfig) -> StepResult[StreamMemory]:
        config, size, memory = self.network.config, frame.image.geometry.scaled, frame.memory
        before = memory.frames[:config.window - 1] if memory.size == size else ()
        grid = Grid.unpadded(size, config.channels, self._device)
        rgb = np.ascontiguousarray(frame.image.pixels[..., ::-1])
        window = Window.of(self.network, normalised([rgb], self._device), before, grid)
        slots = find_slots(self.network, window.output, window.features, grid, tracker)
        tracks = associate(memory.tracks, slots, frame.next_id, frame.stamp, tracker)
        kept = window.frames[len(window.frames) - min(len(window.frames), config.window - 1):]
        return StepResult(
            shown_tracks(tracks, slots, frame.size, size), tracks.born,
            StreamMemory(size, kept, tracks.remembered()),
        )


def shown_tracks(tracks: Association, slots: Slots, size: Size, visible: Size) -> ShownTracks:
    """
    Return what a result shows: the tracks that have a slot, and those that end.

    size: height and width [pixel] of boxes and masks. visible: of the network's image.
    """
    chosen = np.flatnonzero((tracks.rows >= 0) | tracks.ended)
    shown, rows = tracks.tracks.rows(chosen), tracks.rows[chosen]
    found = np.flatnonzero(rows >= 0)
    masks = [RegionMask.empty()] * len(rows)
    for place, row in zip(found, rows[found], strict=True):
        masks[place] = image_mask(slots.newest[row], size, visible)
    return ShownTracks(
        shown.ids, shown.classes, shown.scores, shown.scores, shown.ages, shown.hits,
        shown.missed, shown.first_seen, shown.last_detected, tracks.ended[chosen],
        shown.boxes * np.array([size[1], size[0]] * 2, np.float32), masks,
    )


def image_mask(logits: Tensor, size: Size, visible: Size) -> RegionMask:
    """Return the mask of logits [h, w] at stride 8 in an image of this size."""
    fine = aligned_bilinear(logits[None, None], 2)
    return RegionMask.from_full((image_logits(fine, size, visible)[0, 0] > 0).cpu().numpy())
