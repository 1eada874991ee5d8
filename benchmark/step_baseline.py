# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The same network as a plain port would run it: eager, batch norm unfolded, dense heads."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

from stmask_ros.families.family import TrackerOptions
from stmask_ros.families.stmask import calibration
from stmask_ros.families.stmask.heads import InstanceOutput
from stmask_ros.families.stmask.network import Predictions, STMask
from stmask_ros.families.stmask.stepper import STMaskStepper
from stmask_ros.layers import deformable
from stmask_ros.models.checkpoint import Model
from stmask_ros.tracking.segmenter import VideoSegmenter


class PlainNetwork(STMask):
    """torchvision's deform_conv2d, batch norm as it is, masks and embeddings of all anchors."""

    def forward(self, images: Tensor) -> Predictions:
        """As STMask."""
        with _torchvisions():
            return super().forward(images)

    def instances_at(
        self, predictions: Predictions, frame: int, anchors: Tensor
    ) -> InstanceOutput:
        """Compute all anchors, choose some."""
        with _torchvisions():
            dense = self.instances(predictions)
        return InstanceOutput(*(values[frame, anchors] for values in dense))


@contextmanager
def _torchvisions() -> Iterator[None]:
    # Where they are used.
    with (
        patch.object(deformable, 'deformable_convolution', _torchvision),
        patch.object(calibration, 'deformable_convolution_of_levels', _torchvision_of_levels),
    ):
        yield


def _torchvision(
    x: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1,
    padding: tuple[int, int] = (0, 0), modulation: Tensor | None = None,
) -> Tensor:
    out: Tensor = deform_conv2d(x, offset, weight, bias, stride, padding, mask=modulation)
    return out


def _torchvision_of_levels(
    levels: Sequence[Tensor], offset: Tensor, weight: Tensor, padding: tuple[int, int]
) -> list[Tensor]:
    sizes = [(level.shape[2], level.shape[3]) for level in levels]
    return [
        _torchvision(level, part, weight, padding=padding)
        for level, part in zip(levels, deformable.by_level(offset, sizes), strict=True)
    ]


def plain_segmenter(
    model: Model, device: torch.device, tracker: TrackerOptions
) -> VideoSegmenter:
    """
    Return a segmenter that steps the plain network with the model's weights, in float32.

    Of STMask, PlainNetwork; of other families the network as it was trained, not prepared.
    """
    segmenter = VideoSegmenter(model, device, tracker, in_batches=False)
    if isinstance(model.network, STMask):
        network = PlainNetwork(model.network.config)
        network.load_state_dict(model.network.state_dict())
        network.eval().requires_grad_(False).to(device)
        segmenter.stepper = STMaskStepper(network, device, in_batches=False)
        return segmenter
    family = importlib.import_module(type(model.family).__module__)
    with patch.object(family, 'prepared_for_inference', _unprepared):
        segmenter.stepper = model.family.stepper(model.network, device, 'float32', False)
    return segmenter


def _unprepared(network: nn.Module, device: torch.device, *_: object) -> nn.Module:
    return copy.deepcopy(network).eval().requires_grad_(False).to(device)
