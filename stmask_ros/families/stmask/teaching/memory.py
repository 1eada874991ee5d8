# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
What a model that ships has seen: cells of the pictures it was made of, beside its weights.

A few labelled frames tell little of what else there is. These cells are of everything else; no
class that is taught is to be seen in them. They hold for all models with the same features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from stmask_ros.families.stmask.distance_head import LEVELS
from stmask_ros.families.stmask.network import STMask
from stmask_ros.output_files import whole_file
from stmask_ros.resources import share_directory

MEMORY = 'stmask_lite_memory.safetensors'


def save_memory(path: Path, network: STMask, cells: Sequence[Tensor]) -> None:
    """Write cells [N, channels] of each level, as the outputs of a network take them."""
    tensors = {f'level{number}': level.half() for number, level in enumerate(cells)}
    with whole_file(path) as part:
        save_file(tensors, part, {'features': _features(network)})


def load_memory(network: STMask) -> list[Tensor] | None:
    """Return the cells [N, channels] of each level, float16; None for other features."""
    path = share_directory() / 'model' / MEMORY
    if not path.is_file():
        return None
    with safe_open(path, 'pt') as file:
        if file.metadata().get('features') != _features(network):
            return None
        return [file.get_tensor(f'level{number}') for number in range(LEVELS)]


def _features(network: STMask) -> str:
    """Return the sha256 of the layers whose outputs the cells are."""
    names = [f'prediction_layers.0.levels.{level}.0.weight' for level in range(LEVELS)]
    tensors = network.state_dict()
    digest = hashlib.sha256()
    for name in names:
        digest.update(tensors[name].detach().cpu().half().contiguous().numpy().tobytes())
    return digest.hexdigest()
