# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What other trainings put around and beside weights is no matter, in whichever family."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from family_models import PACKAGED, model_of
from torch import Tensor

from stmask_ros.families.all import family_named
from stmask_ros.families.errors import ModelError
from stmask_ros.families.shapes import is_counter
from stmask_ros.models.checkpoint import (
    ModelDescription,
    load_model,
    read_description,
    read_weights,
)

Tensors = dict[str, Tensor]

WRAPPED: dict[str, Callable[[Tensors], Any]] = {
    'nothing': lambda tensors: tensors,
    'state_dict': lambda tensors: {'state_dict': tensors, 'epoch': 3, 'optimizer': {'state': {}}},
    'model in model': lambda tensors: {'model': {'state_dict': tensors}, 'iteration': 7},
    'parallel': lambda tensors: {f'module.{key}': value for key, value in tensors.items()},
    'compiled and parallel, in model': lambda tensors: {
        'model': {f'module._orig_mod.{key}': value for key, value in tensors.items()}},
    'no counters': lambda tensors: {
        key: value for key, value in tensors.items() if not is_counter(key)},
    'counters of all': lambda tensors: tensors | {
        key.removesuffix('running_var') + 'num_batches_tracked': torch.tensor(5)
        for key in tensors if key.endswith('running_var')},
}


def fresh(family: str, classes: int) -> tuple[ModelDescription, Tensors]:
    """Return the description of a small model with so many classes, and weights for it."""
    described = read_description(model_of(family))
    if family == 'stmask':  # whose small model has options that no tensor tells
        described = replace(described, configuration='stmask_lite', options={})
    names = tuple(f'class {number}' for number in range(classes))
    description = replace(described, classes=names)
    network = family_named(family).build(description.config())
    family_named(family).initialise(network, seed=3)
    return description, network.state_dict()


def written(folder: Path, description: ModelDescription, content: Any) -> Path:
    torch.save(content, folder / 'theirs.pth')
    file = folder / 'theirs.yaml'
    file.write_text(yaml.safe_dump({
        'name': 'theirs', 'family': description.family, 'weights': 'theirs.pth',
        'configuration': description.configuration, 'options': dict(description.options),
        'classes': list(description.classes),
    }))
    return file


@pytest.mark.parametrize('family', PACKAGED)
@pytest.mark.parametrize('kind', WRAPPED)
def test_wrapped_weights_are_those_within(tmp_path: Path, family: str, kind: str) -> None:
    description, tensors = fresh(family, 3)
    loaded = load_model(written(tmp_path, description, WRAPPED[kind](tensors)))
    weights = loaded.network.state_dict()
    assert all(
        torch.equal(weights[key], value) for key, value in tensors.items() if not is_counter(key))
    chosen = family_named(family)
    recognised = chosen.recognise(chosen.renamed(read_weights(tmp_path / 'theirs.pth')))
    assert recognised.num_classes == 3


@pytest.mark.parametrize('family', PACKAGED)
@pytest.mark.parametrize('classes', [1, 7])
def test_the_number_of_classes_is_read_or_its_difference_told(
    tmp_path: Path, family: str, classes: int
) -> None:
    description, tensors = fresh(family, classes)
    chosen = family_named(family)
    assert chosen.recognise(chosen.renamed(dict(tensors))).num_classes == classes
    with pytest.raises(ModelError, match='number of classes another one') as caught:
        load_model(written(tmp_path, replace(description, classes=('a', 'b')), tensors))
    assert len(str(caught.value)) < 500
