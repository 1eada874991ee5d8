# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The reference numbers of MS-STS, and networks filled with the reference's weights."""

from __future__ import annotations

import importlib.util
import json
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stmask_ros.families.msts.config import MSTSConfig
from stmask_ros.families.msts.layout import own_tensors
from stmask_ros.families.msts.network import MSTS

DATA = Path(__file__).parent / 'data'
FOLDER = DATA / 'msts'
PREFIX = 'public/'

Arrays = dict[str, npt.NDArray[Any]]


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f'common_{name}', DATA / f'common/{name}.py')
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FILLER = _module('filler')
CLIP = _module('clip')


def arrays(name: str) -> Arrays:
    """Return the arrays of FOLDER/name.npz."""
    with np.load(FOLDER / f'{name}.npz') as file:
        return dict(file)


def randn(name: str, shape: tuple[int, ...]) -> Tensor:
    """Return the reference's float32 random numbers of a name."""
    return torch.from_numpy(FILLER.randn(PREFIX + name, shape))


def uniform(name: str, shape: tuple[int, ...], low: float = 0, high: float = 1) -> Tensor:
    """Return the reference's float32 uniform numbers of a name."""
    return torch.from_numpy(FILLER.uniform(PREFIX + name, shape, low, high))


def filled(manifest: str, salt: str = '') -> dict[str, Tensor]:
    """Return the filler's weights under the names of the released code."""
    state = FILLER.load(FOLDER / f'manifest_{manifest}.json', FOLDER / 'rules.json', salt)
    return {key: torch.from_numpy(np.asarray(value)) for key, value in state.items()}


def filled_part(manifest: str, prefix: str) -> dict[str, Tensor]:
    """Return the filler's weights of one module, named as in it."""
    shapes = json.loads((FOLDER / f'manifest_{manifest}.json').read_text())
    rules = json.loads((FOLDER / 'rules.json').read_text())
    part = {key: value for key, value in shapes.items() if key.startswith(prefix)}
    state = FILLER.fill(part, rules, '')
    return {k.removeprefix(prefix): torch.from_numpy(v) for k, v in state.items()}


@lru_cache(maxsize=2)
def network(modules: bool = False) -> MSTS:
    """Return the ResNet-50 network with the filler's weights, with or without fresh modules."""
    torch.manual_seed(0)
    name = 'MSTS_resnet50' if modules else 'SeqFormer_resnet50'
    filled_network = MSTS(MSTSConfig.named(name))
    state = own_tensors(filled('resnet50_seqformer'))
    missing, unknown = filled_network.load_state_dict(state, strict=False)
    assert not unknown
    new = ('split_attn', 'temporal_attn_box') if modules else ()
    assert all(any(part in key for part in new) for key in missing), missing
    return filled_network.eval().requires_grad_(False)


def close(actual: Tensor, expected: npt.NDArray[Any], atol: float) -> None:
    """Assert that a tensor equals the reference to atol."""
    np.testing.assert_allclose(actual.detach().numpy(), expected, rtol=0, atol=atol)
