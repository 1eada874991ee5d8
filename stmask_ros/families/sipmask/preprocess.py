# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""From camera images to the network's input (specification, section 2)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor

from stmask_ros.families.frames import Geometry, Image, ScaledImage, Size, padded_to
from stmask_ros.families.sipmask.config import SipMaskConfig

STRIDE = 32
# Blue, green, red, for values 0 to 255.
MEAN = (102.9801, 115.9465, 122.7717)


def scale_of(image: Size, config: SipMaskConfig) -> float:
    """
    Return the factor from an image's pixels to the network's: the largest that fits.

    In double precision; a scaled side is rounded, and the factor stays.
    """
    return min(config.long_side / max(image), config.short_side / min(image))


def geometry_of(image: Size, config: SipMaskConfig) -> Geometry:
    """Return where an image of this (height, width) lies in the network's input."""
    scale = scale_of(image, config)
    height, width = (max(int(side * scale + 0.5), 1) for side in image)
    return Geometry(image, (height, width), padded_to((height, width), STRIDE))


def scaled(image: Image, config: SipMaskConfig) -> ScaledImage:
    """Return an image, uint8 BGR [H, W, 3], resized with its aspect ratio kept."""
    geometry = geometry_of((image.shape[0], image.shape[1]), config)
    height, width = geometry.scaled
    pixels = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return ScaledImage(np.asarray(pixels, np.uint8), geometry)


def preprocess(images: Sequence[Image], config: SipMaskConfig, device: torch.device) -> Tensor:
    """
    Return uint8 BGR images [h, w, 3] of one padded size as float32 [B, 3, H, W].

    The order of the colours is kept; the mean is subtracted, then zeros are padded.
    """
    pixels, sizes = padded_batch([scaled(image, config) for image in images])
    return normalised(pixels.to(device), sizes.to(device))


def padded_batch(images: Sequence[ScaledImage]) -> tuple[Tensor, Tensor]:
    """
    Return scaled images of one padded size as uint8 [B, H, W, 3], zeros around them.

    And their (height, width) without the padding, int64 [B, 2].
    """
    pixels = np.zeros((len(images), *images[0].geometry.padded, 3), np.uint8)
    for place, image in zip(pixels, images, strict=True):
        height, width = image.geometry.scaled
        place[:height, :width] = image.pixels
    sizes = torch.tensor([image.geometry.scaled for image in images])
    return torch.from_numpy(pixels), sizes


def normalised(pixels: Tensor, sizes: Tensor) -> Tensor:
    """Return padded_batch() as the network's input, float32 [B, 3, H, W]."""
    height, width = pixels.shape[1:3]
    rows = torch.arange(height, device=pixels.device) < sizes[:, :1]
    columns = torch.arange(width, device=pixels.device) < sizes[:, 1:]
    inside = (rows[:, :, None] & columns[:, None])[:, None]
    return (pixels.permute(0, 3, 1, 2).float() - _mean(pixels.device)) * inside


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # what is kept must serve training as well
def _mean(device: torch.device) -> Tensor:
    return torch.tensor(MEAN).to(device).view(3, 1, 1)
