# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Where, in which precision, and by which engine a model's network runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from stmask_ros.engines.cache import EngineCache
from stmask_ros.engines.toolkit import Engine, engine_version
from stmask_ros.families.errors import ModelError
from stmask_ros.families.family import AnyStepper, Precision
from stmask_ros.layers.processor import multiplies_bfloat16
from stmask_ros.models.checkpoint import Model

WantedPrecision = Literal['auto', 'float32', 'float16', 'bfloat16']

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Placement:
    """
    Where a network runs.

    precision: of its weights and feature maps. engine: that computes the network of a frame.
    tell: is told of what takes long.
    """

    device: torch.device
    precision: Precision = 'float32'
    engine: Engine = 'torch'
    tell: Callable[[str], object] = _LOGGER.info

    def stepper(self, model: Model, in_batches: bool) -> AnyStepper:
        """Return the model's network, prepared to step; ModelError if that cannot be."""
        family = model.family
        if self.engine == 'torch':
            return family.stepper(model.network, self.device, self.precision, in_batches)
        description = model.description
        cache = EngineCache(
            self.engine, description.name, model.digest, repr(model.network.config),
            None if description.weights is None else description.weights.parent,
            self.device, self.tell,
        )
        return family.stepper(
            model.network, self.device, self.precision, in_batches, cache.compiled
        )

    @property
    def engine_name(self) -> str:
        """The engine with its version."""
        return f'{self.engine} {engine_version(self.engine)}'


def device_named(name: str) -> torch.device:
    """Return a device, 'auto' for CUDA where there is one; ModelError if it is not there."""
    if name == 'auto':
        name = 'cuda' if torch.cuda.is_available() else 'cpu'
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"device {name!r} is unknown: use 'cpu', 'cuda' or 'auto'") from error
    if device.type not in ('cpu', 'cuda'):
        raise ModelError(f"device {name!r} cannot run the networks: use 'cpu', 'cuda' or 'auto'")
    if device.type == 'cuda' and not torch.cuda.is_available():
        raise ModelError(
            f"device {name!r} was asked for and this PyTorch ({torch.__version__}) finds no CUDA; "
            "install a driver and a CUDA build of PyTorch, or set the device to 'cpu'"
        )
    return device


def chosen_precision(
    wanted: WantedPrecision, device: torch.device, engine: Engine, model: Model
) -> Precision:
    """
    Return the precision to run in; ModelError for one that a CPU would only be slower in.

    'auto' is bfloat16 on a CPU that multiplies it in hardware, if the model's file says that by
    this engine its identities were measured to be as good in it; else float32.
    """
    if wanted == 'auto':
        measured = model.description.measured_precisions.get(engine, ())
        fast = device.type == 'cpu' and 'bfloat16' in measured and multiplies_bfloat16()
        return 'bfloat16' if fast else 'float32'
    if device.type == 'cpu' and wanted == 'float16':
        raise ModelError(
            "precision 'float16' was asked for and the device is a CPU, where it would only be "
            "slower: use 'auto' or 'float32'"
        )
    if device.type == 'cpu' and wanted == 'bfloat16' and not multiplies_bfloat16():
        raise ModelError(
            "precision 'bfloat16' was asked for and this processor has no instructions for it "
            "(AVX512-BF16, AMX): it would only be slower; use 'auto' or 'float32'"
        )
    return wanted
