# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""One pass of training: from images to losses."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from itertools import chain

import torch
from torch import Tensor, nn

from stmask_ros.families.errors import TrainingError
from stmask_ros.families.family import Precision
from stmask_ros.families.frames import Image
from stmask_ros.families.mixed_precision import autocast
from stmask_ros.families.stmask.distance_head import DistanceHead
from stmask_ros.families.stmask.heads import HeadOutput, InstanceOutput
from stmask_ros.families.stmask.network import STMask
from stmask_ros.families.stmask.preprocess import Extent, preprocess
from stmask_ros.families.stmask.temporal_fusion import TemporalFeatures
from stmask_ros.families.stmask.training.box_losses import instance_losses
from stmask_ros.families.stmask.training.examples import Example
from stmask_ros.families.stmask.training.loss_inputs import DensePredictions, LossConfig, Propagate
from stmask_ros.families.stmask.training.losses import Losses, multibox_loss
from stmask_ros.families.stmask.training.teacher import Teacher, TeacherPredictions


def freeze_detector(network: STMask) -> None:
    """Keep what the boxes of a kept detection head are made of; of another head, nothing."""
    if isinstance(network.head, DistanceHead):
        for part in (network.backbone, network.fpn, network.head.levels):
            part.requires_grad_(False)


def _check_start(network: STMask) -> None:
    """Raise TrainingError for a network without answers that are worth keeping."""
    head = network.head
    if not isinstance(head, DistanceHead):
        raise TrainingError(
            "tuned_detector: expected detection 'distances', whose boxes are else kept; "
            'any other learns them always: leave the option out')
    # Fresh weights have no biases, and initial ones of other classes do not fit the layer.
    biases = [layer.bias for layer in head.predicting_boxes()]
    if not all(bias is not None and bias.any() for bias in biases):
        raise TrainingError(
            'tuned_detector: expected initial_weights with the same classes, whose answers can be '
            'kept; the layers of classes and boxes are fresh')


class TrainingStep(nn.Module):
    """
    The network with its losses, as one module: what DDP wraps.

    Every parameter takes part in every pass, so that no worker waits for another's gradient.
    """

    def __init__(
        self, network: STMask, loss: LossConfig, precision: Precision = 'float32'
    ) -> None:
        """
        precision: of the network's arithmetic; the losses are float32.

        Raises TrainingError for a tuned_detector without a start to keep.
        """
        super().__init__()
        self.network = network
        self.loss = loss
        self.precision = precision
        self.start: STMask | None = None
        self.teacher: Teacher | None = None
        if loss.tuned_detector:
            _check_start(network)
            self.start = deepcopy(network).requires_grad_(False)
            if loss.teacher is not None:
                self.teacher = Teacher(loss.teacher, network.config.num_classes)
        else:
            freeze_detector(network)

    def forward(self, batch: Sequence[Sequence[Example]]) -> Losses:
        """batch: pairs of examples, on the host."""
        device = next(self.network.parameters()).device
        examples = list(chain.from_iterable(batch))
        images = preprocess([example.image for example in examples], self.network.config, device)
        targets = [example.targets.to(device) for example in examples]
        with autocast(device, self.precision):
            predictions = self.network(images)
        if isinstance(self.network.head, DistanceHead):
            return instance_losses(
                partial(self._instances_of, predictions.head), predictions, targets,
                self._propagation(predictions.temporal), self.loss, self._kept_logits(images),
                self._taught([example.image for example in examples], device),
            )
        with autocast(device, self.precision):
            instances = self.network.instances(predictions)
        centerness = predictions.head.centerness
        return multibox_loss(DensePredictions(
            predictions.head.box_deltas.float(),
            predictions.head.class_logits.float(),
            None if self.network.config.centerness_order == 'none' else centerness.float(),
            instances.mask_coefficients.float(),
            instances.embeddings.float(),
            predictions.prototypes.float(),
            predictions.priors,
            self._propagation(predictions.temporal),
        ), targets, self.loss)

    @torch.no_grad()
    def _kept_logits(self, images: Tensor) -> Tensor | None:
        if self.start is None:
            return None
        with autocast(images.device, self.precision):
            stages = self.start.backbone(images.to(self.start.dtype))
            head: HeadOutput = self.start.head(self.start.fpn(stages[-3:]))
        return head.class_logits

    def _taught(
        self, images: Sequence[Image], device: torch.device
    ) -> list[TeacherPredictions] | None:
        if self.teacher is None:
            return None
        extent = Extent.of(self.network.config)
        return [each.within(extent).to(device) for each in self.teacher(images)]

    def _instances_of(self, output: HeadOutput, frames: Tensor, anchors: Tensor) -> InstanceOutput:
        assert isinstance(self.network.head, DistanceHead)
        with autocast(anchors.device, self.precision):
            return self.network.head.instances_of(output, frames, anchors)

    def _propagation(self, features: TemporalFeatures) -> Propagate | None:
        if self.network.TemporalNet is None:
            return None
        first, second = (
            TemporalFeatures(features.correlated[start::2], features.concatenated[start::2])
            for start in (0, 1)
        )

        def propagate(boxes: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
            with autocast(boxes.device, self.precision):
                deltas = self.network.propagate(first, second, boxes, pairs)
            return deltas[0].float(), deltas[1].float()

        return propagate
