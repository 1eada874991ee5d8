# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""One pass of training: SipMask's losses, and that of the motion head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from stmask_ros.families.family import Precision
from stmask_ros.families.mixed_precision import autocast
from stmask_ros.families.sgnet.motion import motion_loss
from stmask_ros.families.sgnet.network import SGNet
from stmask_ros.families.sipmask.detection import Sizes, locations
from stmask_ros.families.sipmask.neck import STRIDES
from stmask_ros.families.sipmask.training.examples import Example
from stmask_ros.families.sipmask.training.losses import (
    LossConfig,
    SipMaskLosses,
    drawn_jitter,
    sipmask_losses,
)
from stmask_ros.families.sipmask.training.step import dense, on_device
from stmask_ros.families.sipmask.training.targets import FrameTargets, assign


@dataclass(frozen=True)
class SGNetLosses(SipMaskLosses):
    """SipMask's, and motion: how far former centers are from where they are predicted."""

    motion: Tensor


class TrainingStep(nn.Module):
    """
    The network with its losses, as one module: what DDP wraps.

    Every parameter that learns takes part in every pass.
    """

    def __init__(
        self, network: SGNet, loss: LossConfig, precision: Precision = 'float32'
    ) -> None:
        """precision: of the network's arithmetic; the losses are float32."""
        super().__init__()
        self.network = network
        self.loss = loss
        self.precision = precision
        for grid in set(network.config.coefficient_grids) - set(network.config.grids):
            network.bbox_head.coefficient_layer(grid).requires_grad_(False)

    def forward(self, batch: Sequence[Example]) -> SGNetLosses:
        """batch: examples, on the host."""
        network = self.network
        images, references, targets = on_device(batch, next(network.parameters()).device)
        with autocast(images.device, self.precision):
            now = network(images)
            tracking = network.tracking_map(now)
            if network.motion_head is None:
                reference, displacement = network.tracking_map_of(references), None
            else:
                before = network(references)
                reference = network.tracking_map(before)
                displacement = network.motion_head(
                    network.motion_head.features(before), network.motion_head.features(now)
                )
        losses = sipmask_losses(
            dense(now, partial(network.coefficients_to_learn, now), tracking, reference),
            targets, drawn_jitter(targets), self.loss,
        )
        motion = losses.total.new_zeros(())
        if displacement is not None:
            motion = motion_losses(displacement, targets, now.head.towers.level_sizes)
        return SGNetLosses(**losses.terms(), motion=motion)


def motion_losses(
    displacement: Tensor, targets: Sequence[FrameTargets], level_sizes: Sizes
) -> Tensor:
    """
    Return the mean loss of the displacements [B, 2, h, w] at the cells of objects in both frames.

    Those that learn the object at strides 8 to 32, each at the cell of stride 8 that it lies in.
    """
    total, count = displacement.sum() * 0, 0
    points = locations(level_sizes, displacement.device)
    counted = sum(height * width for height, width in level_sizes[:3])
    for map_of_image, target in zip(displacement, targets, strict=True):
        objects = assign(target.boxes, level_sizes).objects[:counted]
        cells = (objects >= 0).nonzero().squeeze(1)
        matches = target.matches[objects[cells]] if len(cells) else cells
        cells, matches = cells[matches > 0], matches[matches > 0] - 1
        if len(cells) == 0:
            continue
        centers = (target.boxes[:, :2] + target.boxes[:, 2:]) / 2
        former = (target.reference_boxes[:, :2] + target.reference_boxes[:, 2:]) / 2
        at = (points[cells] // STRIDES[0]).long()
        total = total + motion_loss(
            map_of_image, at[:, 1] * map_of_image.shape[2] + at[:, 0],
            former[matches] - centers[objects[cells]],
        )
        count += len(cells)
    return total / max(count, 1)
