# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Clips as the network learns from them (specification, section 9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_convert

from stmask_ros.families.examples import boxes_of, color_jittered, mirrored
from stmask_ros.families.family import Augmentation
from stmask_ros.families.frames import AnnotatedFrame, Image, padded_to
from stmask_ros.families.msts.config import MSTSConfig
from stmask_ros.families.msts.preprocess import normalised, resized
from stmask_ros.families.msts.training.augmentation import varied
from stmask_ros.families.msts.training.targets import ClipTargets

# Both sides of a batch's images are multiples of it [pixel].
BATCH_STRIDE = 32
_SMALLEST = 1e-6


@dataclass(frozen=True)
class Example:
    """
    A clip of T frames at the network's size.

    images: uint8 RGB [T, h, w, 3]. targets: of its objects, their masks [n, T, h, w].
    """

    images: Image
    targets: ClipTargets


def example(
    clip: Sequence[AnnotatedFrame], config: MSTSConfig, augmentation: Augmentation,
    rng: np.random.Generator,
) -> Example:
    """
    Return a clip as the network takes it, all frames varied alike, or as the authors do.

    Objects are joined by their ids; one that is not seen in a frame has no mask and a box of
    zeros there.
    """
    if augmentation.flip and bool(rng.integers(2)):
        clip = [mirrored(frame) for frame in clip]
    if augmentation.color_jitter:
        clip = color_jittered(clip, augmentation.color_jitter, rng)
    side = config.short_side
    if config.varied:
        clip, side = varied(clip, side, rng)
    images = [resized(frame.image, side)[..., ::-1] for frame in clip]
    return Example(np.stack(images), clip_targets(clip, images[0].shape[:2]))


def clip_targets(clip: Sequence[AnnotatedFrame], size: tuple[int, int]) -> ClipTargets:
    """Return the objects that are seen anywhere in a clip, their masks at this size."""
    label_of = {
        int(number): int(label) for frame in clip
        for number, label in zip(frame.ids, frame.labels, strict=True)
    }
    ids = sorted(label_of)
    masks = torch.zeros((len(ids), len(clip), *size), dtype=torch.bool)
    for t, frame in enumerate(clip):
        for number, mask in zip(frame.ids, frame.masks, strict=True):
            masks[ids.index(int(number)), t] = _scaled(mask, size)
    seen = masks.flatten(1).any(1)
    labels = torch.tensor([label_of[number] for number in ids], dtype=torch.int64)
    return ClipTargets(labels[seen], fraction_boxes(masks[seen]), masks[seen])


def fraction_boxes(masks: Tensor) -> Tensor:
    """Return boxes [n, T, 4] around masks [n, T, h, w], center and size; of empty ones zeros."""
    flat = masks.flatten(0, 1)
    present = flat.flatten(1).any(1)
    boxes = torch.zeros(len(flat), 4)
    boxes[present] = box_convert(boxes_of(flat[present]), 'xyxy', 'cxcywh')
    return boxes.clamp(min=_SMALLEST).view(*masks.shape[:2], 4)


@dataclass(frozen=True)
class Batch:
    """
    B clips, padded at the right and below to one size.

    images: normalised, [B, T, 3, H, W], zeros in the padding. valid: bool [B, H, W]. targets: of
    the clips.
    """

    images: Tensor
    valid: Tensor
    targets: Sequence[ClipTargets]

    @classmethod
    def of(cls, examples: Sequence[Example], device: torch.device) -> Batch:
        """Return clips of one length as a batch on a device."""
        sizes = [example.images.shape[1:3] for example in examples]
        size = padded_to((max(h for h, _ in sizes), max(w for _, w in sizes)), BATCH_STRIDE)
        frames = len(examples[0].images)
        images = torch.zeros((len(examples), frames, 3, *size), device=device)
        valid = torch.zeros((len(examples), *size), dtype=torch.bool, device=device)
        targets = []
        for row, (example, (height, width)) in enumerate(zip(examples, sizes, strict=True)):
            images[row, :, :, :height, :width] = normalised(list(example.images), device)
            valid[row, :height, :width] = True
            its = example.targets
            masks = torch.zeros((*its.masks.shape[:2], *size), dtype=torch.bool, device=device)
            masks[..., :height, :width] = its.masks.to(device)
            targets.append(ClipTargets(its.labels.to(device), its.boxes.to(device), masks))
        return cls(images, valid, targets)


def _scaled(mask: np.ndarray, size: tuple[int, int]) -> Tensor:
    pixels = torch.from_numpy(np.ascontiguousarray(mask))[None, None].float()
    return torch.nn.functional.interpolate(pixels, size)[0, 0] > 0
