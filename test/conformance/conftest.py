# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The reference vectors, and a network filled with the reference's weights."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.families.stmask.network import STMask
from stmask_ros.models.checkpoint import Model, ModelDescription, load_weights

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Reference:
    """The folder of the reference vectors and its two generators."""

    folder: Path
    filler: ModuleType
    inputs: ModuleType

    def manifest(self, name: str) -> dict[str, dict[str, Any]]:
        """Return key -> shape and dtype of a released configuration."""
        content: dict[str, dict[str, Any]] = json.loads(
            (self.folder / f'manifest_{name}.json').read_text()
        )
        return content

    def model(self, name: str, **options: Any) -> Model:
        """Return a released configuration with the filler's weights, loaded strictly."""
        config = STMaskConfig.named(name, **options)
        network = STMask(config)
        filled = self.filler.fill_state_dict(self.manifest(name))
        load_weights(network, {key: torch.from_numpy(value) for key, value in filled.items()})
        classes = tuple(f'class_{i + 1}' for i in range(config.num_classes))
        description = ModelDescription(name, name, classes, weights=Path('filled'))
        return Model(description, network.eval().requires_grad_(False), 'filled')

    def randn(self, name: str, shape: tuple[int, ...]) -> torch.Tensor:
        """Return the reference's float32 random numbers of a name."""
        return torch.from_numpy(self.filler.randn(name, shape))


@pytest.fixture(scope='session')
def reference(reference_numbers: Path) -> Reference:
    """Return the reference vectors."""
    folder = reference_numbers / 'stmask'
    return Reference(folder, _import(folder / 'filler.py'), _import(folder / 'inputs.py'))


@pytest.fixture(scope='session')
def operator(reference: Reference) -> Callable[[str], dict[str, Array]]:
    """Return a loader of ops/*.npz."""
    def load(name: str) -> dict[str, Array]:
        with np.load(reference.folder / 'ops' / f'{name}.npz') as file:
            return dict(file)

    return load


def _import(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f'reference_{path.stem}', path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
