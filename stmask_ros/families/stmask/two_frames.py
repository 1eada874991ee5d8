# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""All that a network says of two frames: whether its weights compute numbers at all."""

from __future__ import annotations

import torch
from torch import Tensor

from stmask_ros.families.frames import padded_to
from stmask_ros.families.stmask.network import STMask
from stmask_ros.families.stmask.preprocess import STRIDE
from stmask_ros.layers.waves import moving_waves


def outputs(network: STMask) -> dict[str, Tensor]:
    """Return all predictions for two frames, and what temporal fusion makes of them."""
    config = network.config
    size = padded_to((config.input_height, config.input_width), STRIDE)
    predictions = network(moving_waves(size))
    instances = network.instances(predictions)
    values = {
        'box_deltas': predictions.head.box_deltas,
        'class_logits': predictions.head.class_logits,
        'centerness': predictions.head.centerness,
        'prototypes': predictions.prototypes,
    } | instances._asdict()
    if network.TemporalNet is not None:
        first, second = predictions.temporal.frames()
        middle = torch.tensor([[0.25, 0.25, 0.75, 0.75]])
        values['propagated_box'], values['propagated_coefficients'] = network.propagate(
            first, second, middle, torch.zeros(1, dtype=torch.int64)
        )
    return values
