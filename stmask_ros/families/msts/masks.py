# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Masks: features of a frame, read by small convolutions of each query (specification, 7)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmask_ros.families.msts.config import MASK_CHANNELS, MSTSConfig
from stmask_ros.families.msts.grid import FINEST_STRIDE

# The three 1x1 convolutions of a query, (out, in); two more inputs tell where a cell is.
_LAYERS = ((MASK_CHANNELS, 2 + MASK_CHANNELS), (MASK_CHANNELS, MASK_CHANNELS), (1, MASK_CHANNELS))
PARAMETERS = sum(out * (inputs + 1) for out, inputs in _LAYERS)


class MaskHead(nn.Module):
    """From the three finest levels of the memory to the features of masks."""

    def __init__(self, config: MSTSConfig) -> None:
        """Create the five convolutions; the names are those of released checkpoints."""
        super().__init__()
        channels, narrow = config.channels, config.channels // 4
        self.lay3 = nn.Conv2d(channels, channels, 3, padding=1)
        self.lay4 = nn.Conv2d(channels, channels, 3, padding=1)
        self.dcn = nn.Conv2d(channels, channels, 3, padding=1)
        self.lay1 = nn.Conv2d(channels, narrow, 3, padding=1)
        self.lay2 = nn.Conv2d(narrow, MASK_CHANNELS, 3, padding=1)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Return features [N, 8, h, w] of maps [N, C, h, w] of strides 8, 16 and 32."""
        fine, middle, coarse = levels
        x = self.lay3(coarse).relu()
        x = self.lay4(middle + F.interpolate(x, middle.shape[-2:])).relu()
        x = self.dcn(fine + F.interpolate(x, fine.shape[-2:])).relu()
        x = self.lay1(x).relu()
        features: Tensor = self.lay2(x).relu()
        return features


def coarse_masks(features: Tensor, parameters: Tensor, centers: Tensor) -> Tensor:
    """
    Return mask logits of k queries in T frames at stride 8, [k, T, h, w].

    features: [T, 8, h, w]. parameters: [k, 169], see split_parameters(). centers: (x, y) of each
    query in each frame [pixel of the network's image], [T, k, 2].
    """
    features = features.float()
    (w0, w1, w2), (b0, b1, b2) = split_parameters(parameters.float())
    x, y = _offsets(centers.transpose(0, 1), features.shape[-2:])
    hidden = torch.einsum('koi,tihw->ktohw', w0[..., 2:], features)
    hidden = hidden + w0[:, None, :, :1, None] * x[:, :, None, None]
    hidden = hidden + w0[:, None, :, 1:2, None] * y[:, :, None, :, None]
    hidden = (hidden + b0[:, None, :, None, None]).relu()
    hidden = torch.einsum('koi,ktihw->ktohw', w1, hidden) + b1[:, None, :, None, None]
    return torch.einsum('ki,ktihw->kthw', w2.squeeze(1), hidden.relu()) + b2[..., None, None]


def mask_logits(features: Tensor, parameters: Tensor, centers: Tensor) -> Tensor:
    """Return coarse_masks() at stride 4, [k, T, 2 h, 2 w]."""
    return aligned_bilinear(coarse_masks(features, parameters, centers), 2)


def split_parameters(parameters: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Return the weights [k, out, in] and biases [k, out] of [k, 169], first layer first."""
    sizes = [out * inputs for out, inputs in _LAYERS] + [out for out, _ in _LAYERS]
    parts = parameters.split(sizes, -1)
    weights = [part.unflatten(-1, shape) for part, shape in zip(parts, _LAYERS, strict=False)]
    return weights, list(parts[len(_LAYERS):])


def aligned_bilinear(x: Tensor, factor: int) -> Tensor:
    """Scale maps [N, C, h, w] up by a whole number, cells' corners on cells' corners."""
    height, width = x.shape[-2:]
    x = F.pad(x, (0, 1, 0, 1), mode='replicate')
    size = (factor * height + 1, factor * width + 1)
    x = F.interpolate(x, size, mode='bilinear', align_corners=True)
    half = factor // 2
    x = F.pad(x, (half, 0, half, 0), mode='replicate')
    return x[..., :factor * height, :factor * width]


def _offsets(centers: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    # From each cell to the centers [k, T, 2], x [k, T, w] and y [k, T, h] in pixels.
    rows, columns = (
        torch.arange(count, dtype=torch.float32, device=centers.device) * FINEST_STRIDE
        + FINEST_STRIDE // 2
        for count in size
    )
    return centers[..., :1] - columns, centers[..., 1:] - rows
