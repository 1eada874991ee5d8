# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Models on disk: a small YAML that describes one, and weights that load strictly."""

from __future__ import annotations

import argparse
import hashlib
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from stmask_ros.families.all import family_named
from stmask_ros.families.errors import ModelError
from stmask_ros.families.family import AnyFamily, TrackerSettings
from stmask_ros.families.shapes import is_counter
from stmask_ros.fingerprint import Fingerprint
from stmask_ros.output_files import OutputError, whole_file
from stmask_ros.resources import share_directory

_NAMED = 3
# What parallel, compiled and wrapped modules put in front of names.
_PREFIXES = ('module.', '_orig_mod.', 'model.', 'net.', 'network.')
# Where trainings keep the weights beside what else they save; the first that there is counts.
_WRAPPERS = (
    'state_dict', 'model_state_dict', 'model', 'net', 'network', 'weights', 'module', 'params',
)
_DEEPEST = 5


@dataclass(frozen=True)
class ModelDescription:
    """
    A model file (model/*.yaml).

    name: of the model. configuration: a name that its family knows. options: fields of the
    configuration that differ. classes: names of class 1, 2, ... weights: .safetensors or .pth
    file, relative to the YAML, or None for fresh ones. source: where the weights came from.
    sha256: of the file.
    family: of networks, see families/all.py. tracker: options of the family's tracker that differ.
    measured_precisions: by engine, those beside float32 in which the identities of these weights
    were measured to be as good; precision 'auto' may choose them.
    """

    name: str
    configuration: str
    classes: tuple[str, ...]
    weights: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    source: str = ''
    sha256: str = ''
    family: str = 'stmask'
    tracker: Mapping[str, Any] = field(default_factory=dict)
    measured_precisions: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise TypeError for measured precisions that are not by engine."""
        if not isinstance(self.measured_precisions, Mapping):
            raise TypeError(
                'measured_precisions: expected lists by engine, such as {torch: [bfloat16]}, got '
                f'{self.measured_precisions!r}'
            )

    def config(self) -> Any:
        """Return the network's configuration; ModelError if it does not exist."""
        try:
            return family_named(self.family).configuration(
                self.configuration, len(self.classes), self.options
            )
        except (TypeError, ValueError) as error:
            raise ModelError(f'model {self.name}: {error}') from error


@dataclass(frozen=True)
class Model:
    """
    A network with its weights.

    digest: sha256 of the weights' file, or of 'fresh' and the seed when there is none.
    """

    description: ModelDescription
    network: nn.Module
    digest: str

    @property
    def family(self) -> AnyFamily:
        """The family of its network."""
        return family_named(self.description.family)

    def tracker(self, settings: TrackerSettings | None = None) -> Any:
        """
        Return the options of its tracker; ValueError for a setting out of range.

        The settings come before what the model's file says, and that before the defaults.
        """
        return self.family.tracker(settings or TrackerSettings(), self.description.tracker)

    @property
    def freshly_initialised(self) -> bool:
        """Whether the weights were never trained."""
        return self.description.weights is None


def model_fingerprint(description: ModelDescription, sha256: str) -> Fingerprint:
    """Return what tells a model from others; sha256: of its weights."""
    return {
        'name': description.name, 'family': description.family,
        'configuration': description.configuration,
        'options': dict(description.options), 'classes': list(description.classes),
        'sha256': sha256,
    }


def find_model(model: str | Path) -> Path:
    """
    Return the YAML of a model, given its name in model/ or a path.

    A path may name the YAML or the weights beside it. Raises ModelError listing what there is.
    """
    path = Path(model)
    if path.suffix in ('.safetensors', '.pth'):
        path = path.with_suffix('.yaml')
    if path.suffix == '.yaml' and path.is_file():
        return path
    folder = share_directory() / 'model'
    shipped = folder / f'{model}.yaml'
    if shipped.is_file():
        return shipped
    known = ', '.join(sorted(p.stem for p in folder.glob('*.yaml')))
    raise ModelError(f'no model {str(model)!r}: give the path of a model .yaml, or one of {known}')


def read_description(path: Path) -> ModelDescription:
    """Return the content of a model's YAML; ModelError if a field is missing or unknown."""
    try:
        content = yaml.safe_load(path.read_text())
        content['classes'] = _class_names(content['classes'], path)
        weights = content.get('weights')
        content['weights'] = None if weights is None else path.parent / weights
        return ModelDescription(**content)
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f'{path} is no description of a model ({type(error).__name__}: {error})'
        ) from error


def load_model(model: str | Path, seed: int = 0) -> Model:
    """Return a model by name or path, on the CPU, ready for inference; or raise ModelError."""
    description = read_description(find_model(model))
    family = family_named(description.family)
    _check_tracker(description)
    _check_memory(description)
    network = family.build(description.config())
    if description.weights is None:
        family.initialise(network, seed)
        digest = hashlib.sha256(f'fresh {seed}'.encode()).hexdigest()
    else:
        digest = _digest(description)
        load_weights(network, family.renamed(read_weights(description.weights)))
    return Model(description, network.eval().requires_grad_(False), digest)


def _check_memory(description: ModelDescription) -> None:
    # Options may ask for any size, and the system ends a process that takes too much.
    with torch.device('meta'):
        network = family_named(description.family).build(description.config())
    needed = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    there = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    if needed > there:
        raise ModelError(
            f'model {description.name}: its network has {needed / 2**30:.0f} GiB of weights, and '
            f'this machine {there / 2**30:.0f} GiB of memory: choose smaller options'
        )


def _check_tracker(description: ModelDescription) -> None:
    try:
        family_named(description.family).tracker(TrackerSettings(), description.tracker)
    except (TypeError, ValueError) as error:
        raise ModelError(f'model {description.name}: tracker: {error}') from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """
    Return the tensors of a .safetensors or .pth file under the names that it gives them.

    A .pth is read without running any code in it. It may hold the tensors themselves, or
    dictionaries around them, such as state_dict or model. What wrappers put in front of every
    name, such as `module.`, is taken away. Raises ModelError for a missing, damaged or foreign
    file.
    """
    try:
        if path.suffix == '.safetensors':
            tensors = load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')  # the error below says what there is to say
                # Beside their tensors, some authors keep the options of their training.
                with torch.serialization.safe_globals([argparse.Namespace]):
                    tensors = torch.load(path, map_location='cpu', weights_only=True)
    except (OSError, SafetensorError) as error:
        raise ModelError(f'{path} cannot be read: {error}') from error
    except Exception as error:  # torch.load raises whatever a damaged archive leads to
        raise ModelError(
            f'{path} is not a checkpoint of plain tensors ({type(error).__name__}); '
            'nothing in it was run'
        ) from error
    return _without_prefix(_named_tensors(tensors, path))


def _named_tensors(content: Any, path: Path) -> dict[str, Tensor]:
    """Return the tensors in a checkpoint, however deep; ModelError if it is not clear which."""
    for _ in range(_DEEPEST):
        if not isinstance(content, dict):
            break
        tensors = {
            key: value for key, value in content.items()
            if isinstance(key, str) and isinstance(value, Tensor)
        }
        inner = {str(key): value for key, value in content.items() if isinstance(value, dict)}
        if len(tensors) == len(content) or (tensors and not inner):
            return tensors  # numbers beside them, such as the epoch, are no matter
        chosen = [inner[name] for name in _WRAPPERS if inner.get(name)]
        if not chosen and len(inner) != 1:
            break
        content = chosen[0] if chosen else next(iter(inner.values()))
    found = f'a dictionary of {_few(list(content))}' if isinstance(content, dict) else (
        f'a {type(content).__name__}')
    raise ModelError(f'{path} holds something else than named tensors: {found}')


def _without_prefix(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    while tensors:
        prefix = next((
            prefix for prefix in _PREFIXES if all(key.startswith(prefix) for key in tensors)
        ), '')
        if not prefix:
            break
        tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return dict(tensors)


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a .safetensors file, whole or not at all; OutputError if that cannot be done."""
    with whole_file(path) as part:
        try:
            save_file(dict(tensors), part)
        except SafetensorError as error:
            raise OutputError(str(error)) from error


def load_weights(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """
    Load all parameters and buffers, strictly but for counters of batches, which change nothing.

    Raises ModelError that says how many keys are missing, unknown and misshaped, with the first
    of them, or which weights are not finite: a network with such weights finds nothing, and
    nobody would know why.
    """
    expected = network.state_dict()
    counted = dict(tensors) | {
        key: value for key, value in expected.items() if is_counter(key) and key not in tensors
    }
    counted = {
        key: value for key, value in counted.items() if key in expected or not is_counter(key)
    }
    problems = _misfits(expected, counted)
    if problems:
        raise ModelError('the weights do not fit the configuration; ' + '; '.join(problems))
    check_finite('weights', counted)
    network.load_state_dict(counted)


def _misfits(expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> list[str]:
    missing = [key for key in expected if key not in tensors]
    unknown = [key for key in tensors if key not in expected]
    misshaped = [
        f'{key} is {list(tensors[key].shape)}, expected {list(value.shape)}'
        for key, value in expected.items()
        if key in tensors and tensors[key].shape != value.shape
    ]
    problems = [
        f'{len(keys)} {word}: {_few(keys)}'
        for word, keys in (('missing', missing), ('unknown', unknown), ('misshaped', misshaped))
        if keys
    ]
    if misshaped and not missing and not unknown:
        problems.append('every name fits: is the number of classes another one?')
    return problems


def _few(names: Sequence[Any]) -> str:
    more = f' and {len(names) - _NAMED} more' if len(names) > _NAMED else ''
    return ', '.join(map(str, names[:_NAMED])) + more


def check_finite(what: str, tensors: Mapping[str, Tensor]) -> None:
    """Raise ModelError that names the first of the tensors with values that are not finite."""
    wrong = [
        name for name, tensor in tensors.items()
        if tensor.is_floating_point() and not bool(tensor.isfinite().all())
    ]
    if wrong:
        more = f' and {len(wrong) - _NAMED} more' if len(wrong) > _NAMED else ''
        raise ModelError(
            f'{len(wrong)} of the {what} are not finite: {", ".join(wrong[:_NAMED])}{more}; '
            'the file is damaged, or its training went astray'
        )


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Return the sha256 of tensors in memory: of their names, kinds and values."""
    digest = hashlib.sha256()
    for name, tensor in tensors.items():
        digest.update(f'{name} {tensor.dtype} {list(tensor.shape)}'.encode())
        flat = tensor.detach().cpu().contiguous().flatten()
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _class_names(classes: Any, path: Path) -> tuple[str, ...]:
    if isinstance(classes, str):
        names = (path.parent / f'{classes}.txt').read_text().split('\n')
        return tuple(name for name in names if name)
    return tuple(str(name) for name in classes)


def _digest(description: ModelDescription) -> str:
    assert description.weights is not None
    if not description.weights.is_file():  # reading a device or a pipe might never end
        raise ModelError(f'the weights {description.weights} are not a file that is there')
    try:
        digest = hashlib.sha256(description.weights.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(f'the weights {description.weights} cannot be read: {error}') from error
    if description.sha256 and digest != description.sha256:
        raise ModelError(
            f'{description.weights} has sha256 {digest}, its description says '
            f'{description.sha256}: the file is damaged or another one'
        )
    return digest
