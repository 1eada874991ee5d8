# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
What a family of networks gives to be run, recognised and trained by the rest of the package.

A family is one folder beside this file and one frozen value of a class that has the methods of
Family; stmask_ros/families/all.py lists them. A family imports layers, masks and what lies beside
this file; it never imports the rooms that use it. Its configuration, network, options of the
tracker and memory of a stream are its own types: the rest of the package hands them around
without looking inside, except for what the protocols here name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Generic, Literal, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from stmask_ros.families.appearance import Appearance
from stmask_ros.families.class_thresholds import ClassThresholds
from stmask_ros.families.frames import AnnotatedFrame, Geometry, Image, ScaledImage, Size
from stmask_ros.layers.program import Program
from stmask_ros.masks import BoolArray, Float32Array, Int64Array, RegionMask

Precision = Literal['float32', 'float16', 'bfloat16']

# Makes a program of a module from one tensor like the example to a tuple of them: 'part' names it
# among those of one network, the precision is that of its arithmetic.
Compile: TypeAlias = Callable[[str, nn.Module, Tensor, Precision], Program]

Configuration = TypeVar('Configuration')
Network = TypeVar('Network', bound=nn.Module)
Tracker = TypeVar('Tracker')
Memory = TypeVar('Memory')
LossOptions = TypeVar('LossOptions')
_Configuration = TypeVar('_Configuration', contravariant=True)
_GivenNetwork = TypeVar('_GivenNetwork', bound=nn.Module, contravariant=True)
_RunNetwork = TypeVar('_RunNetwork', bound=nn.Module, covariant=True)
_Tracker = TypeVar('_Tracker', contravariant=True)
_Example = TypeVar('_Example', covariant=True)
_Options = TypeVar('_Options')


@dataclass(frozen=True)
class TrackerSettings:
    """
    What users set of any tracker, under names that all families share; None is the family's own.

    score_threshold: lowest score of a detection, and lowest score shown [0, 1].
    class_thresholds: the same by class, none of them below score_threshold; () for one for all.
        The tracks of a class that is off end with the next frame.
    birth_threshold: lowest score of a detection that may start a track [0, 1].
    nms_threshold: IoU above which the weaker of two detections goes [0, 1].
    max_missed: frames in a row that a track is remembered without a detection, 0 or more.
    confirm_hits: detections that make a track CONFIRMED, 1 or more.
    capacity: most tracks remembered, 1 or more.
    retirement: 'missed' forgets a track after max_missed; 'never' keeps all.
    """

    score_threshold: float | None = None
    class_thresholds: ClassThresholds | None = None
    birth_threshold: float | None = None
    nms_threshold: float | None = None
    max_missed: int | None = None
    confirm_hits: int | None = None
    capacity: int | None = None
    retirement: Literal['missed', 'never'] | None = None

    def over(self, options: _Options, **further: Any) -> _Options:
        """
        Return a tracker's options with the fields of the same name as set here.

        What a family has no use for (nms_threshold of one without suppression) is left out.
        further: fields of the family's own. Raises ValueError for a value out of range, and for
        a further field that does not exist, listing those that do.
        """
        known = [field.name for field in fields(options)]  # type: ignore[arg-type]
        if unknown := sorted(set(further) - set(known)):
            raise ValueError(f'unknown options of the tracker {unknown}; known: {sorted(known)}')
        values = {name: getattr(options, name) for name in known} | further
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in known and value is not None:
                values[field.name] = value
        return type(options)(**values)


class TrackerOptions(Protocol):
    """The options of a family's tracker: a frozen dataclass that checks its values."""

    @property
    def score_threshold(self) -> float:
        """Lowest score shown [0, 1]."""
        ...

    @property
    def class_thresholds(self) -> ClassThresholds:
        """Lowest score shown of each class; () where score_threshold is for all."""
        ...

    @property
    def confirm_hits(self) -> int:
        """Detections that make a track CONFIRMED."""
        ...


@dataclass(frozen=True)
class StreamFrame(Generic[Memory]):
    """
    A frame of a stream, ready for a step.

    image: as Stepper.scaled() returned it. size: height and width [pixel] in which boxes and
    masks are reported; the image may be a smaller version of the frame. memory: what the stream
    remembers of the frames before. next_id: of the next new track. stamp: of the frame [ns].
    """

    image: ScaledImage
    size: Size
    memory: Memory
    next_id: int
    stamp: int


@dataclass(frozen=True)
class ShownTracks:
    """
    The N tracks that the result of one frame shows, on the host, in any order.

    ids: int64 [N], from 1, unique. classes: int64 [N], from 1. scores, detection_scores: float32
    [N], now and at the last detection. ages, hits, missed: int64 [N] frames: since birth (from
    1), detected, undetected in a row. first_seen, last_detected: int64 [N], stamps [ns].
    ended: bool [N], tracks that are forgotten after this frame. boxes: [N, 4], x_min, y_min,
    x_max, y_max [pixel of the frame's size]; they may reach outside. masks: N, in the same pixels.
    """

    ids: Int64Array
    classes: Int64Array
    scores: Float32Array
    detection_scores: Float32Array
    ages: Int64Array
    hits: Int64Array
    missed: Int64Array
    first_seen: Int64Array
    last_detected: Int64Array
    ended: BoolArray
    boxes: Float32Array | np.ndarray[Any, np.dtype[np.float64]]
    masks: Sequence[RegionMask]


@dataclass(frozen=True)
class StepResult(Generic[Memory]):
    """
    What a step leaves of one frame.

    shown: the tracks of its result. born: how many ids, from the frame's next_id on, were given
    away. memory: for the next frame of the stream.
    """

    shown: ShownTracks
    born: int
    memory: Memory


@dataclass(frozen=True)
class VideoInstance:
    """
    An instance of a whole video.

    class_id: from 1. score: of the video, in [0, 1]. masks: one a frame, empty where it is not
    seen, in pixels of the size that was asked for.
    """

    class_id: int
    score: float
    masks: Sequence[RegionMask]


@runtime_checkable
class WholeVideoStepper(Protocol):
    """What a Stepper also has if its network can see a whole video at once."""

    def whole_video(self, images: Sequence[ScaledImage], size: Size) -> list[VideoInstance]:
        """
        Return the instances of a video, best first, in inference mode.

        images: of one size, at least one. size: height and width [pixel] of the masks.
        """
        ...


@runtime_checkable
class RemembersAppearance(Protocol):
    """What a Stepper also has if its tracks have embeddings that tell objects apart."""

    def appearance(self, memory: Any) -> Appearance:
        """Return the embeddings of the tracks in a stream's memory."""
        ...


@dataclass(frozen=True)
class PrototypeMaps:
    """
    What a network that combines prototypes to masks knows of an image, whatever is in it.

    prototypes: float32 [P, h, w] on the host, of the image alone. temporal: of the family, for
    what comes after it.
    """

    prototypes: Float32Array
    temporal: Any


@runtime_checkable
class PrototypeStepper(Protocol):
    """What a Stepper also has if its masks are prototypes, combined, and follow their boxes."""

    def prototype_maps(self, image: ScaledImage) -> PrototypeMaps:
        """Return the prototypes of an image, in inference mode."""
        ...

    def carried_boxes(
        self, before: PrototypeMaps, now: PrototypeMaps, boxes: Float32Array
    ) -> Float32Array:
        """
        Return where objects are in the next image by temporal fusion, in inference mode.

        boxes: float32 [N, 4], x_min, y_min, x_max, y_max as fractions of the image.
        """
        ...


class Stepper(Protocol[_RunNetwork, _Tracker, Memory]):
    """
    A network on a device, prepared for inference; keeps nothing of the streams that it serves.

    On a device, a pure function from tensors to tensors can be run through
    stmask_ros.layers.captured.CapturingStep, which records it as a CUDA graph for each shape.
    """

    @property
    def network(self) -> _RunNetwork:
        """The copy of the network that steps run."""
        ...

    @property
    def latency_frames(self) -> int:
        """How many frames a result comes after its image; 0 for the frame just given."""
        ...

    def scaled_size(self, size: Size) -> Size:
        """Return the size at which the network sees an image of this size."""
        ...

    def scaled(self, image: Image) -> ScaledImage:
        """Return an image, uint8 BGR [H, W, 3] that was checked, as the network sees it."""
        ...

    def initial_memory(self) -> Memory:
        """Return the memory of a stream of which nothing was seen yet: an immutable value."""
        ...

    def step(
        self, frames: Sequence[StreamFrame[Memory]], tracker: _Tracker
    ) -> list[StepResult[Memory]]:
        """
        Segment and track one new frame of each of several streams, in inference mode.

        frames: of one padded size; one only if the stepper was made without in_batches. A
        stream's results depend on its own frames, whatever streams are beside it.
        """
        ...


@dataclass(frozen=True)
class Recognised:
    """A configuration by its name, its number of classes, and the options that differ from it."""

    configuration: str
    num_classes: int
    options: Mapping[str, Any]


@dataclass(frozen=True)
class OfficialCheckpoint:
    """
    A checkpoint that the authors of a network publish: facts of their page, nothing is fetched.

    name: of its file, without the suffix. configuration: as it is read from the tensors.
    classes: a list in model/. ap: mask AP on the data set's validation videos as published, None
    if there is none. link: where a person downloads it. remark: what else there is to say.
    """

    name: str
    configuration: str
    classes: str
    ap: float | None
    link: str
    remark: str = ''


class Losses(Protocol):
    """What one pass of training minimises."""

    @property
    def total(self) -> Tensor:
        """The sum of the terms."""
        ...

    def terms(self) -> dict[str, Tensor]:
        """Return the terms by name, scalars with their weights in."""
        ...


@dataclass(frozen=True)
class Augmentation:
    """
    How the frames of a clip vary.

    flip: mirror all frames of every second clip, at random. color_jitter: most that the colors of
    a clip change, [0, 1]; see stmask_ros.families.examples.color_jittered.
    """

    flip: bool = True
    color_jitter: float = 0.0


@dataclass(frozen=True)
class ParameterGroup:
    """
    Parameters that learn alike.

    rate: factor on the learning rate of the run. decay: factor on its weight decay.
    """

    parameters: Sequence[nn.Parameter]
    rate: float = 1.0
    decay: float = 1.0


class Training(Protocol[_Configuration, _GivenNetwork, LossOptions, _Example]):
    """How a family learns."""

    @property
    def loss_options(self) -> type[LossOptions]:
        """The frozen dataclass that `loss` in a run's YAML fills; all fields have defaults."""
        ...

    def clip_length(self, options: LossOptions) -> int:
        """Return how many frames of a video are learnt from together: 2 for pairs."""
        ...

    def check(
        self, configuration: _Configuration, precision: Precision, device: torch.device
    ) -> None:
        """Raise TrainingError if this cannot be trained there."""
        ...

    def initialise(self, network: _GivenNetwork, seed: int) -> None:
        """Give the network the weights that a training without others starts with."""
        ...

    def initial_tensors(
        self, network: _GivenNetwork, tensors: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        """Return tensors of a file to start from under the network's names, whatever fits."""
        ...

    def example(
        self, configuration: _Configuration, clip: Sequence[AnnotatedFrame],
        augmentation: Augmentation, rng: np.random.Generator,
    ) -> _Example:
        """
        Return a clip as one example, on the host, to be pickled between processes.

        clip: in the order of time. All that is left to chance is drawn from rng.
        """
        ...

    def step(
        self, network: _GivenNetwork, options: LossOptions, precision: Precision
    ) -> nn.Module:
        """
        Return the network with its losses as one module, whose `network` is the one given.

        Called with a sequence of examples, it moves them to its device and returns Losses. Every
        parameter that learns takes part in every pass. Its state_dict() is what a run that goes
        on needs; what is neither parameter nor buffer is its extra state.
        """
        ...

    def backbone(self, network: _GivenNetwork) -> nn.Module:
        """Return the part that `backbone_rate` and `frozen_stages` of a run are about."""
        ...

    def stages(self, network: _GivenNetwork) -> Sequence[nn.Module]:
        """Return the stages of the backbone after its stem, that can be frozen one by one."""
        ...

    def parameter_groups(self, network: _GivenNetwork) -> Sequence[ParameterGroup]:
        """Return all parameters of the network, but for the backbone's, in groups."""
        ...


class Family(Protocol[Configuration, Network, Tracker, Memory]):
    """One family of networks."""

    @property
    def name(self) -> str:
        """The name that `family:` in a model's .yaml chooses."""
        ...

    @property
    def official(self) -> Sequence[OfficialCheckpoint]:
        """The published checkpoints."""
        ...

    @property
    def page(self) -> str:
        """The address where they are published."""
        ...

    # Configurations: frozen dataclasses that check their values and compare by them.

    def configuration_names(self) -> Sequence[str]:
        """Return a name of each distinct configuration, the released ones first."""
        ...

    def configuration(
        self, name: str, num_classes: int, options: Mapping[str, Any]
    ) -> Configuration:
        """
        Return a configuration by its name, for so many classes, with options changed.

        Raises ValueError for an unknown name or option, listing the known ones, and for values
        that do not go together.
        """
        ...

    # Networks: modules whose parameters and buffers are named as in checkpoints.

    def build(self, configuration: Configuration) -> Network:
        """Return the network of a configuration, which is its `config`; the weights are any."""
        ...

    def initialise(self, network: Network, seed: int) -> None:
        """Give the network fresh weights from a seed, with which it detects something."""
        ...

    def outputs(self, network: Network) -> Mapping[str, Tensor]:
        """Return, by name, all that the network in evaluation mode says of two frames."""
        ...

    # Checkpoints.

    def renamed(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """
        Return the tensors of a checkpoint of any generation under this package's names.

        Left-overs that the authors' code drops are dropped; whatever is unknown stays, so that
        load_weights refuses it. `module.` in front of all names is gone already.
        """
        ...

    def recognise(
        self, tensors: Mapping[str, Tensor], configuration: str | None = None
    ) -> Recognised:
        """
        Return which configuration tensors, as renamed() returns them, belong to.

        configuration: its name, if it is known. Raises UnrecognisedError if none fits or the
        name is unknown, ModelError if several do, listing them.
        """
        ...

    # Streams.

    def tracker(self, settings: TrackerSettings, options: Mapping[str, Any]) -> Tracker:
        """
        Return the options of the tracker.

        options: of the family's own, as a model's .yaml names them under `tracker`; settings
        come before them. Raises ValueError for an unknown option or a value out of range.
        """
        ...

    def stepper(
        self, network: Network, device: torch.device, precision: Precision, in_batches: bool,
        compiled: Compile | None = None,
    ) -> Stepper[Network, Tracker, Memory]:
        """
        Return a copy of the network, prepared to step on a device; see VideoSegmenter.

        compiled: makes the programs of an engine that computes the network of a frame; None for
        PyTorch alone. Where the input's size follows the image's, it is called for other sizes
        while the stepper steps.
        """
        ...

    # Training.

    @property
    def training(self) -> Training[Configuration, Network, Any, Any]:
        """How it learns."""
        ...


AnyFamily: TypeAlias = Family[Any, Any, Any, Any]
AnyStepper: TypeAlias = Stepper[Any, Any, Any]

__all__ = [
    'AnnotatedFrame', 'AnyFamily', 'AnyStepper', 'Appearance', 'Augmentation', 'Family',
    'Geometry', 'Image', 'Losses', 'OfficialCheckpoint', 'ParameterGroup', 'Precision',
    'PrototypeMaps', 'PrototypeStepper', 'Recognised', 'RemembersAppearance', 'ScaledImage',
    'ShownTracks', 'Size', 'StepResult', 'Stepper', 'StreamFrame', 'TrackerOptions',
    'TrackerSettings', 'Training', 'VideoInstance', 'WholeVideoStepper',
]
