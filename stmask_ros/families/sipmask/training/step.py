# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""One pass of training: from examples to losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from stmask_ros.families.family import Precision
from stmask_ros.families.frames import Geometry, ScaledImage
from stmask_ros.families.mixed_precision import autocast
from stmask_ros.families.sipmask.network import Predictions, SipMask
from stmask_ros.families.sipmask.preprocess import normalised, padded_batch
from stmask_ros.families.sipmask.training.examples import Example, padded_targets
from stmask_ros.families.sipmask.training.losses import (
    ChosenCoefficients,
    DensePredictions,
    LossConfig,
    SipMaskLosses,
    drawn_jitter,
    sipmask_losses,
)
from stmask_ros.families.sipmask.training.targets import FrameTargets


class TrainingStep(nn.Module):
    """
    The network with its losses, as one module: what DDP wraps.

    Every parameter takes part in every pass, so that no worker waits for another's gradient.
    """

    def __init__(
        self, network: SipMask, loss: LossConfig, precision: Precision = 'float32'
    ) -> None:
        """precision: of the network's arithmetic; the losses are float32."""
        super().__init__()
        self.network = network
        self.loss = loss
        self.precision = precision

    def forward(self, batch: Sequence[Example]) -> SipMaskLosses:
        """batch: examples, on the host."""
        images, references, targets = on_device(batch, next(self.network.parameters()).device)
        with autocast(images.device, self.precision):
            now = self.network(images)
            reference = self.network.tracking_map_of(references)
            tracking = self.network.tracking_map(now)
        return sipmask_losses(
            dense(now, partial(self.network.coefficients_to_learn, now), tracking, reference),
            targets, drawn_jitter(targets), self.loss,
        )


def on_device(
    batch: Sequence[Example], device: torch.device
) -> tuple[Tensor, Tensor, list[FrameTargets]]:
    """
    Return images and reference images, float32 [B, 3, H, W] each, and targets.

    Examples of several sizes are padded to the largest.
    """
    paddings = [example.image.geometry.padded for example in batch]
    size = (max(height for height, _ in paddings), max(width for _, width in paddings))
    images, references = (
        normalised(*(part.to(device) for part in padded_batch([_padded(i, size) for i in side])))
        for side in ([e.image for e in batch], [e.reference for e in batch])
    )
    return images, references, [padded_targets(e.targets, size, device) for e in batch]


def _padded(image: ScaledImage, size: tuple[int, int]) -> ScaledImage:
    geometry: Geometry = replace(image.geometry, padded=size)
    return ScaledImage(image.pixels, geometry)


def dense(
    now: Predictions, coefficients: ChosenCoefficients, tracking: Tensor, reference: Tensor
) -> DensePredictions:
    """Return predictions of images as the loss takes them; tracking, reference: tracking maps."""
    towers = now.head.towers
    return DensePredictions(
        towers.class_logits, towers.distances, towers.centerness, coefficients,
        now.head.prototypes, tracking.float(), reference.float(), towers.level_sizes,
    )
