# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""From annotated frames of a clip to what a network learns from: sizes, mirrors and colors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.functional import adjust_contrast, adjust_hue, adjust_saturation

from stmask_ros.families.frames import AnnotatedFrame, Image, Size


def resized_frame(frame: AnnotatedFrame, size: Size) -> AnnotatedFrame:
    """Return a frame at another size, without the objects that are no pixel there."""
    height, width = size
    image = np.asarray(cv2.resize(frame.image, (width, height), interpolation=cv2.INTER_LINEAR))
    masks = np.zeros((len(frame.masks), height, width), np.bool_)
    for scaled, mask in zip(masks, frame.masks, strict=True):
        small = cv2.resize(
            mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST
        )
        scaled[:] = np.asarray(small) > 0
    shown = masks.any((1, 2))
    return AnnotatedFrame(
        image.astype(np.uint8), masks[shown], frame.labels[shown], frame.ids[shown]
    )


def mirrored(frame: AnnotatedFrame) -> AnnotatedFrame:
    """Return a frame with left and right exchanged."""
    image, masks = frame.image[:, ::-1], frame.masks[:, :, ::-1]
    return replace(
        frame, image=np.ascontiguousarray(image), masks=np.ascontiguousarray(masks)
    )


def color_jittered(
    clip: Sequence[AnnotatedFrame], amount: float, rng: np.random.Generator
) -> list[AnnotatedFrame]:
    """
    Return a clip under another light: the same change of all its images.

    amount: 0 to 1, the largest share by which contrast and saturation grow or shrink; times a
    quarter of a circle, the most that the hue turns.
    """
    contrast, saturation = rng.uniform(1 - amount, 1 + amount, 2).tolist()
    hue = rng.uniform(-amount, amount) / 4

    def changed(image: Image) -> Image:
        rgb = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)
        for adjust, factor in (
            (adjust_contrast, contrast), (adjust_saturation, saturation), (adjust_hue, hue)
        ):
            rgb = adjust(rgb, factor)
        return np.ascontiguousarray(rgb.permute(1, 2, 0).numpy()[..., ::-1])

    return [replace(frame, image=changed(frame.image)) for frame in clip]


def boxes_of(masks: Tensor) -> Tensor:
    """Return the boxes [N, 4] around masks [N, H, W], as fractions; none may be empty."""
    edges = []
    for axis in (1, 2):
        along = masks.any(axis)
        size = along.shape[1]
        low = along.int().argmax(1)
        high = size - along.flip(1).int().argmax(1)
        edges.append((low / size, high / size))
    (x_min, x_max), (y_min, y_max) = edges
    return torch.stack((x_min, y_min, x_max, y_max), 1)
