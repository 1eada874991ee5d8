# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The discriminator: true foreground masks from predicted ones, by the encoder's features.

In training only; never part of a model (specification, section 11, C).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Of the optimiser that it has for itself.
LEARNING_RATE = 1e-4
BETAS = (0.5, 0.999)
_MASK_POOL = 2


class Discriminator(nn.Module):
    """Convolutions over image, memory and mask; one logit a patch, at stride 32."""

    def __init__(self, channels: int) -> None:
        """channels: of the memory."""
        super().__init__()
        self.first = nn.Conv2d(3 + channels + 1, channels, 3, padding=1, bias=False)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.pool = nn.MaxPool2d(3, 2, 1)
        widths = (channels, 64, 128, 256, 512)
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1, bias=False)
            for before, after in zip(widths, (*widths[1:], 1), strict=True)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=1e-6) for width in widths[2:])

    def forward(self, images: Tensor, levels: Sequence[Tensor], masks: Tensor) -> Tensor:
        """
        Return logits [N, 1, h / 4, w / 4] of how true masks are.

        images: normalised [N, 3, H, W]. levels: memory of strides 8, 16 and 32, [N, C, h, w] and
        so on. masks: foreground [N, 1, h, w] in [0, 1].
        """
        fine, middle, coarse = levels
        small = F.interpolate(images, fine.shape[-2:], mode='bilinear', align_corners=False)
        x = self.pool(self.first(torch.cat((small, fine, masks), 1))) + middle
        x = self.pool(self.second(x)) + coarse
        x = self.layers[0](x)
        for i, layer in enumerate(self.layers[1:]):
            x = layer(F.leaky_relu(x, 0.2))
            if i < len(self.norms):
                x = self.norms[i](x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        logits: Tensor = x
        return logits


def true_foreground(masks: Tensor, size: Sequence[int]) -> Tensor:
    """Return the union of masks bool [n, T, H, W], its share of each cell, [T, 1, *size]."""
    union = masks.any(0)[:, None].float()
    return F.interpolate(union, tuple(size), mode='area')


def predicted_foreground(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Return the largest of mask logits [n, T, 2 h, 2 w] as a probability, [T, 1, *size]."""
    pooled: Tensor = F.avg_pool2d(logits.sigmoid().amax(0)[:, None], _MASK_POOL)
    return pooled[..., :size[0], :size[1]]


def discriminator_loss(
    discriminator: Discriminator, images: Tensor, levels: Sequence[Tensor], true: Tensor,
    predicted: Tensor,
) -> Tensor:
    """Return what the discriminator minimises; nothing of the network learns from it."""
    levels = [level.detach() for level in levels]
    right = discriminator(images.detach(), levels, true)
    wrong = discriminator(images.detach(), levels, predicted.detach())
    loss: Tensor = F.softplus(-right).mean() + F.softplus(wrong).mean()
    return loss


def adversarial_loss(
    discriminator: Discriminator, images: Tensor, levels: Sequence[Tensor], predicted: Tensor
) -> Tensor:
    """Return what masks and memory minimise; the discriminator itself does not learn from it."""
    # Copies: the discriminator learns before the network does.
    frozen = {n: value.detach().clone() for n, value in discriminator.named_parameters()}
    logits = torch.func.functional_call(discriminator, frozen, (images, levels, predicted))
    loss: Tensor = F.softplus(-logits).mean()
    return loss
