# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""All that a network says of two frames: whether its weights compute numbers at all."""

from __future__ import annotations

import torch
from torch import Tensor

from stmask_ros.families.frames import padded_to
from stmask_ros.families.sipmask.frame_step import MaskNetwork
from stmask_ros.families.sipmask.preprocess import STRIDE
from stmask_ros.layers.waves import moving_waves

# Of moving_waves(), whose values are about 1, to those of images without their mean.
_CONTRAST = 50


def outputs(network: MaskNetwork) -> dict[str, Tensor]:
    """Return all predictions for two frames, with coefficients and embeddings of some cells."""
    config = network.config
    size = padded_to((config.short_side, config.long_side), STRIDE)
    predictions = network(_CONTRAST * moving_waves(size))
    towers = predictions.head.towers
    frames = slice(None)
    cells = torch.arange(0, towers.centerness.shape[1], 97).expand(2, -1)
    boxes = torch.tensor((0.0, 0.0, 48.0, 48.0)).expand(*cells.shape, 4)
    height, width = towers.level_sizes[0]
    places = torch.arange(0, height * width, 97).expand(2, -1)
    return {
        'class_logits': towers.class_logits, 'distances': towers.distances,
        'centerness': towers.centerness, 'prototypes': predictions.head.prototypes,
        'coefficients': network.coefficients_at(predictions, frames, cells, boxes)[0],
        'embeddings': network.embeddings_at(predictions, frames, places),
    }
