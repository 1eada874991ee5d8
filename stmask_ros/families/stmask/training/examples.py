# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What STMask learns from: images at the network's input size, and their objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from stmask_ros.families.examples import boxes_of, color_jittered, mirrored, resized_frame
from stmask_ros.families.family import Augmentation
from stmask_ros.families.frames import AnnotatedFrame, Image, padded_to
from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.families.stmask.preprocess import STRIDE
from stmask_ros.families.stmask.training.targets import FrameTargets


@dataclass(frozen=True)
class Example:
    """An image at the network's input size, uint8 BGR [H, W, 3], and its objects."""

    image: Image
    targets: FrameTargets


def examples(
    clip: Sequence[AnnotatedFrame], config: STMaskConfig, augmentation: Augmentation,
    rng: np.random.Generator,
) -> list[Example]:
    """Return the frames of a clip as the network takes them, all of them varied alike."""
    flipped = augmentation.flip and bool(rng.integers(2))
    size = (config.input_height, config.input_width)
    frames = [resized_frame(frame, size) for frame in clip]
    if flipped:
        frames = [mirrored(frame) for frame in frames]
    if augmentation.color_jitter:
        frames = color_jittered(frames, augmentation.color_jitter, rng)
    return [Example(frame.image, targets_of(frame)) for frame in frames]


def targets_of(frame: AnnotatedFrame) -> FrameTargets:
    """Return the objects of a frame of the input's size, their masks padded as the image is."""
    height, width = frame.image.shape[:2]
    masks = torch.zeros(len(frame.masks), *padded_to((height, width), STRIDE), dtype=torch.bool)
    masks[:, :height, :width] = torch.from_numpy(frame.masks)
    return FrameTargets(
        boxes_of(masks), torch.from_numpy(frame.labels), torch.from_numpy(frame.ids), masks
    )
