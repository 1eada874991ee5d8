# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Files of a run: to go on from, to start from, and the model that comes out."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from stmask_ros.families.errors import TrainingError
from stmask_ros.families.family import AnyFamily
from stmask_ros.models.checkpoint import read_weights, save_tensors
from stmask_ros.output_files import OutputError, whole_file, write_whole
from stmask_ros.training.config import TrainingConfig

_LOGGER = logging.getLogger(__name__)


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint that appears whole or not at all."""
    with whole_file(path) as part:
        try:
            torch.save(dict(content), part)
        except RuntimeError as error:  # what PyTorch makes of a full disk
            raise OutputError(str(error)) from error


def load_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """Return a checkpoint without running any code in it; TrainingError if it is damaged."""
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch.load raises whatever a damaged archive leads to
        raise TrainingError(
            f'{path} cannot be read ({type(error).__name__}: {error}): delete it to start again'
        ) from error
    if not isinstance(content, dict):
        raise TrainingError(f'{path} is no checkpoint of a run: delete it to start again')
    return content


def initialise_from(
    family: AnyFamily, network: nn.Module, path: Path, fresh: Sequence[str] = ()
) -> list[str]:
    """
    Take every tensor of a file that has the name and shape of one of the network's.

    The file may be one that the family knows under other names, see Training.initial_tensors.
    fresh: modules of the network, by their full names, of which no tensor is taken.
    Returns the names of those that stay as they are. Raises ModelError if the file cannot be
    read, TrainingError if nothing in it fits, or if the network has no such part.
    """
    tensors = family.training.initial_tensors(network, family.renamed(read_weights(path)))
    own = network.state_dict()
    for part in fresh:
        if not any(_is_of(name, [part]) for name in own):
            raise TrainingError(
                f'fresh: expected parts of the network, such as {_parts(own)}, got {part!r}')
    fitting = {
        name: value for name, value in tensors.items()
        if name in own and own[name].shape == value.shape and not _is_of(name, fresh)
    }
    if not fitting:
        raise TrainingError(f'{path}: none of its {len(tensors)} tensors fits the network')
    network.load_state_dict(fitting, strict=False)
    left = [name for name in own if name not in fitting]
    _LOGGER.info(
        '%d of %d tensors from %s; %d stay fresh: %s', len(fitting), len(own), path.name,
        len(left), _modules(left) or 'none',
    )
    return left


def save_model(folder: Path, config: TrainingConfig, network: nn.Module, iteration: int) -> Path:
    """Write weights and description of a model as load_model takes them; return the latter."""
    weights = folder / f'{config.name}.safetensors'
    tensors: dict[str, Tensor] = {
        name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()
    }
    save_tensors(weights, tensors)
    description = folder / f'{config.name}.yaml'
    write_whole(description, yaml.safe_dump({
        'name': config.name,
        'family': config.family,
        'configuration': config.configuration,
        'options': dict(config.options),
        'classes': list(config.classes),
        'weights': weights.name,
        'source': f'stmask train, {iteration} iterations of {config.batch_size} clips of '
                  f'{config.clip_length()} frames, '
                  f'seed {config.seed}',
    }, sort_keys=False))
    return description


def _is_of(name: str, parts: Sequence[str]) -> bool:
    """Return whether a tensor belongs to one of the parts, which have full names of modules."""
    return any(name.startswith(f'{part}.') for part in parts)


def _parts(names: Iterable[str]) -> str:
    return ', '.join(sorted({name.split('.')[0] for name in names}))


def _modules(names: list[str]) -> str:
    return ', '.join(sorted({'.'.join(name.split('.')[:-1][:3]) for name in names}))
