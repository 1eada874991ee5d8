"""Which configuration a checkpoint belongs to, read from the names and shapes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from stmask_ros.families.errors import ModelError
from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.families.stmask.network import STMask

Shapes = dict[str, tuple[int, ...]]


def detect_configuration(
    tensors: Mapping[str, Tensor], name: str | None = None
) -> tuple[str, dict[str, Any]]:
    """
    Return the name of the tensors' configuration and the options that differ from it.

    tensors: as read_weights returns them. name: the configuration, if it is known already.
    Raises ModelError if none fits, or several do, listing them.
    """
    shapes = {key: tuple(value.shape) for key, value in tensors.items()}
    options = _options(shapes)
    names = [name] if name is not None else STMaskConfig.names()
    wrong = {candidate: _differences(candidate, options, shapes) for candidate in names}
    fitting = [candidate for candidate, count in wrong.items() if count == 0]
    if not fitting:
        closest = min(wrong, key=lambda candidate: wrong[candidate])
        raise ModelError(
            f'{len(shapes)} tensors, but no STMask checkpoint: {wrong[closest]} names or shapes '
            f'differ from {closest}' + ('' if name else ', the closest configuration')
        )
    if len(fitting) > 1:
        raise ModelError(f'several configurations fit, choose one: {", ".join(fitting)}')
    return fitting[0], options


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
        raise ModelError(str(error)) from error
    return len(set(_expected(config).items()) ^ set(shapes.items()))


@lru_cache(maxsize=64)
def _expected(config: STMaskConfig) -> Shapes:
    with torch.device('meta'):
        network = STMask(config)
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}
