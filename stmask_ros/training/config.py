# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What a training run is asked to do: a YAML file, read strictly."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from stmask_ros.families.all import family_named
from stmask_ros.families.errors import ModelError, TrainingError
from stmask_ros.families.family import AnyFamily, Augmentation, Precision
from stmask_ros.training.crops import CropConfig
from stmask_ros.training.cutouts import MOST_IN_BACKGROUND
from stmask_ros.training.synthetic import ClipConfig

_AT_LEAST_0 = (
    'averaged_iterations', 'backbone_rate', 'checkpoint_every', 'frozen_stages', 'log_every',
    'validate_every', 'warm_up', 'workers',
)


@dataclass(frozen=True)
class ClassNames:
    """How other data's names become the model's classes, see ClassMap."""

    names: Mapping[str, str] = field(default_factory=dict)
    otherwise: str | None = None


@dataclass(frozen=True)
class VideoData:
    """
    Annotated videos. annotations: YouTube-VIS or OVIS JSON, or a folder as DAVIS has it.

    images: folder of the frames. videos: only these, by name or id; all if empty.
    """

    annotations: Path
    images: Path
    classes: ClassNames = field(default_factory=ClassNames)
    videos: tuple[str, ...] = ()


@dataclass(frozen=True)
class CocoData:
    """
    Pictures in COCO's format, to cut objects out of.

    skip_bad: leave out broken entries and pictures instead of ending at the first.
    """

    annotations: Path
    images: Path
    classes: ClassNames = field(default_factory=ClassNames)
    skip_bad: bool = False


@dataclass(frozen=True)
class PictureData:
    """
    Pictures in COCO's format, of which two crops make a pair; crops: how, see CropConfig.

    warped: whether a picture and warped copies of it make a clip instead, see WarpedPictures.
    """

    coco: CocoData
    crops: CropConfig = field(default_factory=CropConfig)
    warped: bool = False


@dataclass(frozen=True)
class SyntheticData:
    """
    Clips that are made while training.

    coco, videos: where cutouts and backgrounds come from. stride: of the frames taken from
    videos. most_in_background: objects of a picture that is used as one. clips: how they look.
    pairs: drawn in an epoch.
    """

    coco: tuple[CocoData, ...] = ()
    videos: tuple[VideoData, ...] = ()
    stride: int = 10
    most_in_background: int = MOST_IN_BACKGROUND
    clips: ClipConfig = field(default_factory=ClipConfig)
    pairs: int = 10_000


@dataclass(frozen=True)
class TrainingConfig:
    """
    A training run; the defaults are the paper's.

    name: of the model. family, configuration, options: of its network, as in a model's .yaml.
    classes: in order.
    videos, synthetic, pictures, validation: the data. out: folder of checkpoints, logs, model.
    initial_weights: .safetensors or .pth, of which every tensor that fits is taken, but for
    fresh: parts of the network by their names, such as TemporalNet, that start anew.
    gap: most frames between the two of a pair, or from one of a clip to the next. flip: at random.
    color_jitter: most that a clip's colors change, see `color_jittered`.
    batch_size: pairs (or clips) in an iteration, on all devices together.
    iterations: of the optimiser.
    optimiser: 'sgd' with momentum, or 'adamw'. learning_rate, steps: divided by 10 at each.
    backbone_rate: factor on the backbone's learning rate, e.g. 0.1 to keep what it knows.
    warm_up: iterations in which the rate rises from a tenth. clip_gradient: largest norm of the
    gradient, None for any. freeze_batch_norm: keep the statistics and factors it starts with.
    frozen_stages: of the backbone, with its stem, that keep the weights they start with.
    averaged_iterations: about how many the model is a running mean of; 0 for the last one alone.
    precision: of the network's arithmetic; the losses are always float32. loss: the options of
    the family's losses, None for its defaults.
    workers: processes that prepare data, on each device. seed: of everything.
    log_every, checkpoint_every, validate_every: iterations; 0 for never.
    """

    name: str
    configuration: str
    classes: tuple[str, ...]
    out: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    videos: tuple[VideoData, ...] = ()
    synthetic: tuple[SyntheticData, ...] = ()
    pictures: tuple[PictureData, ...] = ()
    validation: VideoData | None = None
    initial_weights: Path | None = None
    fresh: tuple[str, ...] = ()
    gap: int = 5
    flip: bool = True
    color_jitter: float = 0.0
    batch_size: int = 16
    iterations: int = 160_000
    optimiser: Literal['sgd', 'adamw'] = 'sgd'
    learning_rate: float = 1e-3
    backbone_rate: float = 1.0
    steps: tuple[int, ...] = (66_000, 133_000)
    warm_up: int = 500
    momentum: float = 0.9
    weight_decay: float = 1e-4
    clip_gradient: float | None = None
    freeze_batch_norm: bool = True
    frozen_stages: int = 0
    averaged_iterations: int = 0
    precision: Precision = 'float32'
    loss: Any = None
    workers: int = 4
    seed: int = 0
    log_every: int = 20
    checkpoint_every: int = 1000
    validate_every: int = 0
    family: str = 'stmask'

    def __post_init__(self) -> None:
        """Raise TrainingError for values that make no sense."""
        if not self.videos and not self.synthetic and not self.pictures:
            raise TrainingError(
                'nothing to train on: expected entries under videos, synthetic or pictures'
            )
        for name in ('batch_size', 'iterations', 'gap'):
            if getattr(self, name) < 1:
                raise TrainingError(f'{name}: expected 1 or more, got {getattr(self, name)}')
        for name in _AT_LEAST_0:
            if not getattr(self, name) >= 0:
                raise TrainingError(f'{name}: expected 0 or more, got {getattr(self, name)}')
        if self.fresh and self.initial_weights is None:
            raise TrainingError('fresh: expected initial_weights too; without them all is fresh')
        if not 0 <= self.color_jitter <= 1:
            raise TrainingError(f'color_jitter: expected 0 to 1, got {self.color_jitter}')

    def family_of_networks(self) -> AnyFamily:
        """Return the family; TrainingError if it does not exist."""
        try:
            return family_named(self.family)
        except ModelError as error:
            raise TrainingError(str(error)) from error

    def network_config(self) -> Any:
        """Return the network's configuration; TrainingError if it does not exist."""
        family = self.family_of_networks()
        try:
            return family.configuration(self.configuration, len(self.classes), self.options)
        except (TypeError, ValueError) as error:
            raise TrainingError(str(error)) from error

    def loss_options(self) -> Any:
        """Return the options of the losses."""
        defaults = self.family_of_networks().training.loss_options
        return defaults() if self.loss is None else self.loss

    def clip_length(self) -> int:
        """Return how many frames are learnt from together."""
        return self.family_of_networks().training.clip_length(self.loss_options())

    def augmentation(self) -> Augmentation:
        """Return how clips vary."""
        return Augmentation(self.flip, self.color_jitter)


def read_config(path: Path) -> TrainingConfig:
    """
    Read a run's YAML; paths in it are relative to it.

    Raises TrainingError for anything that is missing, unknown or of another kind.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise TrainingError(f'{path} cannot be read: {error}') from error
    try:
        config = _build(TrainingConfig, content, '', path.parent)
        assert isinstance(config, TrainingConfig)
        if config.loss is None:
            return config
        kind = config.family_of_networks().training.loss_options
        return replace(config, loss=_build(kind, config.loss, 'loss.', path.parent))
    except TrainingError as error:
        raise TrainingError(f'{path}: {error}') from error


def _build(kind: type, content: Any, where: str, folder: Path) -> Any:
    """Return a dataclass from the mapping that YAML has for it."""
    assert is_dataclass(kind)
    if not isinstance(content, dict):
        raise TrainingError(f'{where or "the file"}: expected names and values, got {content!r}')
    known = {option.name: option for option in fields(kind)}
    if unknown := sorted(set(content) - set(known)):
        raise TrainingError(
            f'{where}unknown options {", ".join(map(str, unknown))}; known: {", ".join(known)}'
        )
    missing = [
        option.name for option in known.values() if option.name not in content
        and option.default is MISSING and option.default_factory is MISSING
    ]
    if missing:
        raise TrainingError(f'{where}missing: {", ".join(missing)}')
    kinds = typing.get_type_hints(kind)
    values = {
        name: _convert(kinds[name], value, f'{where}{name}', folder)
        for name, value in content.items()
    }
    try:
        return kind(**values)
    except TrainingError:
        raise
    except ValueError as error:
        raise TrainingError(f'{where}{error}') from error


def _convert(kind: Any, value: Any, where: str, folder: Path) -> Any:
    """Return the value that an option of this kind takes."""
    if kind is Any:
        return value
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        return _convert(arguments[0], value, where, folder)
    if is_dataclass(kind) and isinstance(kind, type):
        return _build(kind, value, f'{where}.', folder)
    if kind is Path and isinstance(value, str):
        return folder / value
    if origin is tuple and isinstance(value, list):
        if arguments[-1] is Ellipsis or len(arguments) == len(value):
            inner = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
            return tuple(
                _convert(each, item, f'{where}[{i}]', folder)
                for i, (each, item) in enumerate(zip(inner, value, strict=True))
            )
    elif origin is Literal and value in arguments:
        return value
    elif kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif type(value) is kind or (origin is Mapping and isinstance(value, dict)):
        return value
    raise TrainingError(f'{where}: expected {_described(kind)}, got {value!r}')


def _described(kind: Any) -> str:
    if typing.get_origin(kind) is Literal:
        return ' or '.join(typing.get_args(kind))
    return str(getattr(kind, '__name__', kind)) if not typing.get_args(kind) else str(kind)
