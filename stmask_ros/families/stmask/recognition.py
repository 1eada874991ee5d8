# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Which configuration a checkpoint belongs to, read from the names and shapes of its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from stmask_ros.families.errors import ModelError, UnrecognisedError
from stmask_ros.families.family import Recognised
from stmask_ros.families.shapes import Shapes, shapes_of
from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.families.stmask.network import STMask


def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors but for those that the released loader drops (section 12)."""
    return {key: value for key, value in tensors.items() if not _is_dropped(key)}


def recognise(tensors: Mapping[str, Tensor], configuration: str | None = None) -> Recognised:
    """
    Return the name of the tensors' configuration and the options that differ from it.

    tensors: as renamed() returns them. configuration: its name, if it is known already.
    Raises UnrecognisedError if none fits, ModelError if several do, listing them.
    """
    shapes = shapes_of(tensors)
    options = _options(shapes)
    names = [configuration] if configuration is not None else STMaskConfig.names()
    wrong = {name: _differences(name, options, shapes) for name in names}
    fitting = [name for name, count in wrong.items() if count == 0]
    if not fitting:
        closest = min(wrong, key=lambda name: wrong[name])
        raise UnrecognisedError(
            f'{len(shapes)} tensors, but no STMask checkpoint: {wrong[closest]} names or shapes '
            f'differ from {closest}' + ('' if configuration else ', the closest configuration'),
            wrong[closest],
        )
    if len(fitting) > 1:
        raise ModelError(f'several configurations fit, choose one: {", ".join(fitting)}')
    num_classes = options.pop('num_classes')
    return Recognised(fitting[0], num_classes, options)


def _is_dropped(key: str) -> bool:
    # Left-overs of the COCO model in released checkpoints.
    if key.startswith('backbone.layer') and not key.startswith('backbone.layers'):
        return True
    level = re.match(r'fpn\.downsample_layers\.(\d+)\.', key)
    return level is not None and int(level[1]) >= 2


def _options(shapes: Shapes) -> dict[str, Any]:
    options: dict[str, Any] = {}
    head = 'prediction_layers.0.conf_layer.0'
    for kind in ('.weight', '.conv.weight', '.conv_adaption.weight'):
        if shape := shapes.get(head + kind):
            options['num_classes'] = shape[0] - 1
            break
    # The first public code predicted with FCB's deformable convolution itself.
    adapted = [key.removesuffix('.conv_adaption.weight') for key in shapes
               if key.endswith('.conv_adaption.weight')]
    if adapted and not any(f'{key}.conv.weight' in shapes for key in adapted):
        options['calibration_layers'] = 'one'
    return options


def _differences(name: str, options: Mapping[str, Any], shapes: Shapes) -> int:
    try:
        config = STMaskConfig.named(name, **options)
    except ValueError as error:
        raise UnrecognisedError(str(error), len(shapes)) from error
    return len(set(_expected(config).items()) ^ set(shapes.items()))


@lru_cache(maxsize=64)
def _expected(config: STMaskConfig) -> Shapes:
    with torch.device('meta'):
        network = STMask(config)
    return shapes_of(network.state_dict())
