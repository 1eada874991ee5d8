# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""From camera images to the network's input (specification, section 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stmask_ros.families.errors import InvalidImageError
from stmask_ros.families.frames import Geometry, Image, ScaledImage, check_image, padded_to
from stmask_ros.families.stmask.config import STMaskConfig

__all__ = ['Extent', 'Image', 'InvalidImageError', 'check_image', 'preprocess']

STRIDE = 32
# Of ImageNet, red, green, blue, for values 0 to 255.
MEAN = (123.675, 116.28, 103.53)
STANDARD_DEVIATION = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class Extent:
    """Which part of the padded network input an image fills, as fractions in (0, 1]."""

    width: float
    height: float

    @classmethod
    def of(cls, config: STMaskConfig) -> Extent:
        """Return the extent of a configuration's input."""
        return cls(
            config.input_width / _padded(config.input_width),
            config.input_height / _padded(config.input_height),
        )


def preprocess(images: Sequence[Image], config: STMaskConfig, device: torch.device) -> Tensor:
    """
    Return uint8 BGR images of any sizes as one float32 batch [B, 3, H, W].

    Each is resized to the configured size without keeping its aspect ratio, normalised, and
    padded with zeros at the bottom and the right to multiples of 32. Raises InvalidImageError.
    """
    return normalised(resized(images, config, device), config)


def resized(images: Sequence[Image], config: STMaskConfig, device: torch.device) -> Tensor:
    """Return uint8 BGR images of any sizes as uint8 [B, h, w, 3] of the configured size."""
    for image in images:
        check_image(image)
    return on_device([scaled(image, config).pixels for image in images], device)


def scaled(image: Image, config: STMaskConfig) -> ScaledImage:
    """Return an image, resized to the configured size without keeping its aspect ratio."""
    size = (config.input_height, config.input_width)
    pixels = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    geometry = Geometry(image.shape[:2], size, padded_to(size, STRIDE))
    return ScaledImage(np.asarray(pixels, np.uint8), geometry)


def on_device(pixels: Sequence[Image], device: torch.device) -> Tensor:
    """Return images [h, w, 3] of one size as a batch uint8 [B, h, w, 3] on a device."""
    batch = torch.from_numpy(np.stack(pixels))
    if device.type == 'cuda':
        return batch.pin_memory().to(device, non_blocking=True)
    return batch.to(device)


def normalised(pixels: Tensor, config: STMaskConfig) -> Tensor:
    """Return uint8 BGR [B, h, w, 3] as the network's input, float32 [B, 3, H, W]."""
    # In planes before anything is computed: three numbers of a pixel fill no register.
    planes = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    mean, scale = _normalisation(pixels.device)
    right = _padded(config.input_width) - config.input_width
    bottom = _padded(config.input_height) - config.input_height
    return F.pad(planes.sub_(mean).mul_(scale).flip(1), (0, right, 0, bottom))


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # what is kept must serve training as well
def _normalisation(device: torch.device) -> tuple[Tensor, Tensor]:
    mean, deviation = torch.tensor((MEAN, STANDARD_DEVIATION)).flip(1).to(device).view(2, 3, 1, 1)
    return mean, 1 / deviation


def _padded(size: int) -> int:
    return -(-size // STRIDE) * STRIDE
