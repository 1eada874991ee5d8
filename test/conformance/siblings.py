# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The reference vectors of SipMask and SG-Net, which have one format (GOLDEN.md there)."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Golden = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Sibling:
    """The folder of a network's reference vectors and the two generators."""

    folder: Path
    filler: ModuleType
    clip: ModuleType

    @classmethod
    def of(cls, numbers: Path, name: str) -> Sibling:
        """Return the reference vectors of a network."""
        common = numbers / 'common'
        return cls(numbers / name, _module(common / 'filler.py'), _module(common / 'clip.py'))

    def weights(self, depth: int = 50, salt: str = '') -> dict[str, Tensor]:
        """Return the filled state dict."""
        filled = self.filler.load(
            self.folder / f'manifest_resnet{depth}.json', self.folder / 'rules.json', salt
        )
        return {key: torch.from_numpy(np.asarray(value)) for key, value in filled.items()}

    def manifest(self, depth: int = 50) -> dict[str, dict[str, Any]]:
        """Return key -> shape and dtype."""
        content: dict[str, dict[str, Any]] = json.loads(
            (self.folder / f'manifest_resnet{depth}.json').read_text()
        )
        return content

    def numbers(self, name: str) -> Golden:
        """Return the content of a file."""
        with np.load(self.folder / f'{name}.npz') as file:
            return dict(file)

    def randn(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Return the reference's float32 random numbers of a name."""
        return torch.from_numpy(self.filler.randn(f'public/{name}', shape))

    def uniform(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Return the reference's uniform numbers of a name."""
        return torch.from_numpy(self.filler.uniform(f'public/{name}', shape))


def frames_of(golden: Golden) -> list[Golden]:
    """Return the values of each frame."""
    count = len({key.split('/')[0] for key in golden if '/' in key and key[0] == 'f'})
    return [
        {key.removeprefix(f'f{k}/'): golden[key] for key in golden if key.startswith(f'f{k}/')}
        for k in range(count)
    ]


def close(actual: Tensor, expected: npt.NDArray[Any], atol: float) -> None:
    """Assert equality to a tolerance."""
    np.testing.assert_allclose(actual.numpy(), expected, rtol=0, atol=atol)


def statistics(x: Tensor) -> list[float]:
    """Return what the reference notes of a map."""
    x = x.double()
    return [float(v) for v in (x.mean(), x.std(), x.abs().mean(), x.min(), x.max())]


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f'siblings_{path.stem}', path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
