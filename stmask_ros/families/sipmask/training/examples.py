# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What SipMask learns from: a frame, another of the same video, and the objects in both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from stmask_ros.families.examples import color_jittered, mirrored
from stmask_ros.families.family import Augmentation
from stmask_ros.families.frames import AnnotatedFrame, Geometry, ScaledImage
from stmask_ros.families.sipmask.config import SipMaskConfig
from stmask_ros.families.sipmask.preprocess import scaled
from stmask_ros.families.sipmask.training.targets import FrameTargets
from stmask_ros.masks import BoolArray, Int64Array


@dataclass(frozen=True)
class Example:
    """
    A frame and its reference frame, at one size.

    image, reference: as the network sees them. targets: of the frame, see FrameTargets; masks
    bool [N, h, w] of the scaled image.
    """

    image: ScaledImage
    reference: ScaledImage
    targets: FrameTargets


def example(
    clip: Sequence[AnnotatedFrame], config: SipMaskConfig, augmentation: Augmentation,
    rng: np.random.Generator,
) -> Example:
    """
    Return two frames of a clip, in an order drawn by chance, varied alike.

    The size is drawn from those that the configuration is trained at.
    """
    pair = [clip[0], clip[-1]]
    if rng.integers(2):
        pair.reverse()
    if augmentation.flip and rng.integers(2):
        pair = [mirrored(frame) for frame in pair]
    if augmentation.color_jitter:
        pair = color_jittered(pair, augmentation.color_jitter, rng)
    size = replace(
        config, long_side=int(rng.integers(*config.training_long_sides, endpoint=True)),
        short_side=int(rng.integers(*config.training_short_sides, endpoint=True)),
    )
    frame, reference = (_visible(each) for each in pair)
    image, other = scaled(frame.image, size), scaled(reference.image, size)
    masks = _scaled_masks(frame.masks, image.geometry)
    shown = masks.any((1, 2))
    return Example(image, other, FrameTargets(
        _boxes(frame.masks[shown], image.geometry), torch.from_numpy(frame.labels[shown]),
        torch.from_numpy(masks[shown]), _boxes(reference.masks, other.geometry),
        _matches(frame.ids[shown], reference.ids),
    ))


def _visible(frame: AnnotatedFrame) -> AnnotatedFrame:
    shown = frame.masks.any((1, 2))
    return AnnotatedFrame(
        frame.image, frame.masks[shown], frame.labels[shown], frame.ids[shown]
    )


def _scaled_masks(masks: BoolArray, geometry: Geometry) -> BoolArray:
    height, width = geometry.scaled
    scaled_masks = np.zeros((len(masks), height, width), np.bool_)
    for place, mask in zip(scaled_masks, masks, strict=True):
        small = cv2.resize(
            mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST
        )
        place[:] = np.asarray(small) > 0
    return scaled_masks


def _boxes(masks: BoolArray, geometry: Geometry) -> Tensor:
    # To the outermost pixels of masks [N, H, W], in pixels of the scaled image.
    edges = []
    for axis, size, full in (
        (1, geometry.scaled[1], geometry.image[1]), (2, geometry.scaled[0], geometry.image[0])
    ):
        along = np.asarray(masks.any(axis))
        low, high = along.argmax(1), along.shape[1] - 1 - along[:, ::-1].argmax(1)
        edges.append(np.stack((low, high), 1) * (size / full))
        edges[-1] = edges[-1].clip(0, size - 1)
    (x, y) = edges
    return torch.from_numpy(np.stack((x[:, 0], y[:, 0], x[:, 1], y[:, 1]), 1)).float()


def _matches(ids: Int64Array, reference: Int64Array) -> Tensor:
    same = ids[:, None] == reference
    rows = same.argmax(1) if same.shape[1] else np.zeros(len(ids), np.int64)
    return torch.from_numpy(np.where(same.any(1), 1 + rows, 0))


def padded_targets(
    targets: FrameTargets, size: Sequence[int], device: torch.device
) -> FrameTargets:
    """Return targets on a device, their masks padded to a (height, width)."""
    masks = torch.zeros(len(targets.masks), size[0], size[1], dtype=torch.bool)
    masks[:, :targets.masks.shape[1], :targets.masks.shape[2]] = targets.masks
    return replace(targets, masks=masks).to(device)
