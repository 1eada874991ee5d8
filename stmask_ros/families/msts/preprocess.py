# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""From camera images to the network's input (specification, section 2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image as Pillow
from torch import Tensor

# Of ImageNet, red, green, blue, for values 0 to 1.
MEAN = (0.485, 0.456, 0.406)
STANDARD_DEVIATION = (0.229, 0.224, 0.225)

# Most times that the long side is as long as the short one: memory grows with it, without end.
# A longer image is squeezed.
MOST_ASPECT = 8

Image = npt.NDArray[np.uint8]
Size = tuple[int, int]


def network_size(size: Size, short_side: int) -> Size:
    """Return the height and width that an image is seen with: its aspect, up to MOST_ASPECT."""
    height, width = size
    long_side = min(int(short_side * max(size) / min(size)), MOST_ASPECT * short_side)
    return (short_side, long_side) if height <= width else (long_side, short_side)


def resized(image: Image, short_side: int) -> Image:
    """Return a uint8 image [H, W, 3] with its short side so long, bilinear with antialiasing."""
    size = network_size((image.shape[0], image.shape[1]), short_side)
    if size == image.shape[:2]:
        return image
    bilinear = Pillow.Resampling.BILINEAR
    return np.asarray(Pillow.fromarray(image).resize((size[1], size[0]), bilinear))


def normalised(images: Sequence[Image], device: torch.device | None = None) -> Tensor:
    """Return uint8 RGB images of one size as the network's input, float32 [T, 3, H, W]."""
    pixels = torch.from_numpy(np.stack(images)).to(device).permute(0, 3, 1, 2).float() / 255
    mean, deviation = torch.tensor((MEAN, STANDARD_DEVIATION), device=device).view(2, 3, 1, 1)
    batch: Tensor = (pixels - mean) / deviation
    return batch
