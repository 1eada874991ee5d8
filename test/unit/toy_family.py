# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
A family that lives in the tests: two small convolutions, and at most one track a class.

Its images keep their aspect ratio, so that streams differ in size as those of real families do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmask_ros.families.errors import UnrecognisedError
from stmask_ros.families.examples import color_jittered, mirrored, resized_frame
from stmask_ros.families.family import (
    AnnotatedFrame,
    Augmentation,
    Geometry,
    Image,
    OfficialCheckpoint,
    ParameterGroup,
    Precision,
    Recognised,
    ScaledImage,
    ShownTracks,
    Size,
    StepResult,
    StreamFrame,
    TrackerSettings,
)
from stmask_ros.families.frames import padded_to
from stmask_ros.layers.waves import moving_waves
from stmask_ros.masks import RegionMask

STRIDE = 4


@dataclass(frozen=True)
class ToyConfig:
    """longest: side of a scaled image [pixel]. channels: of the first convolution."""

    num_classes: int = 4
    channels: int = 8
    longest: int = 64


class ToyNetwork(nn.Module):
    """Images [B, 3, H, W] to logits of the classes [B, classes, H / 4, W / 4]."""

    def __init__(self, config: ToyConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = nn.Conv2d(3, config.channels, STRIDE, STRIDE)
        self.heat = nn.Conv2d(config.channels, config.num_classes, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.heat(self.stem(images).relu())
        return logits


@dataclass(frozen=True)
class ToyTracker:
    """As TrackerSettings, but for suppression, of which there is none."""

    score_threshold: float = 0.5
    class_thresholds: tuple[float, ...] = ()
    birth_threshold: float = 0.0
    max_missed: int = 2
    confirm_hits: int = 3
    capacity: int = 64

    def __post_init__(self) -> None:
        for name in ('score_threshold', 'birth_threshold'):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f'{name}: expected 0 to 1, got {getattr(self, name)}')
        for name in ('confirm_hits', 'capacity'):
            if getattr(self, name) < 1:
                raise ValueError(f'{name}: expected 1 or more, got {getattr(self, name)}')

    def lowest(self, class_id: int) -> float:
        return (self.class_thresholds or {class_id - 1: self.score_threshold})[class_id - 1]

    def ends(self, track: ToyTrack) -> bool:
        return track.missed > self.max_missed or self.lowest(track.class_id) > 1


@dataclass(frozen=True)
class ToyTrack:
    """One class's object."""

    id: int
    class_id: int
    score: float
    box: tuple[float, ...]  # as a share of the image
    mask: RegionMask
    first_seen: int
    last_detected: int
    age: int = 1
    hits: int = 1
    missed: int = 0


Memory = tuple[ToyTrack, ...]


def scaled_size(size: Size, longest: int) -> Size:
    height, width = (max(1, round(side * longest / max(size))) for side in size)
    return height, width


def as_input(pixels: Sequence[Image], padded: Size) -> Tensor:
    """Return images of one padded size as a batch."""
    batch = torch.zeros(len(pixels), 3, *padded)
    for row, image in zip(batch, pixels, strict=True):
        row[:, :image.shape[0], :image.shape[1]] = torch.from_numpy(image).permute(2, 0, 1)
    return batch / 128 - 1


class ToyStepper:
    latency_frames = 0

    def __init__(self, network: ToyNetwork, device: torch.device) -> None:
        self.network = network
        self._device = device

    def scaled_size(self, size: Size) -> Size:
        return scaled_size(size, self.network.config.longest)

    def scaled(self, image: Image) -> ScaledImage:
        size = self.scaled_size(image.shape[:2])
        pixels = np.asarray(cv2.resize(image, size[::-1]), np.uint8)
        return ScaledImage(pixels, Geometry(image.shape[:2], size, padded_to(size, 16)))

    def initial_memory(self) -> Memory:
        return ()

    def step(
        self, frames: Sequence[StreamFrame[Memory]], tracker: ToyTracker
    ) -> list[StepResult[Memory]]:
        padded = frames[0].image.geometry.padded
        images = as_input([frame.image.pixels for frame in frames], padded).to(self._device)
        heat = self.network(images).sigmoid().float().cpu()
        return [self._track(frame, its, tracker) for frame, its in zip(frames, heat, strict=True)]

    def _track(
        self, frame: StreamFrame[Memory], heat: Tensor, tracker: ToyTracker
    ) -> StepResult[Memory]:
        height, width = frame.image.geometry.scaled
        seen = F.interpolate(heat[None], scale_factor=STRIDE)[0, :, :height, :width]
        known = {track.class_id: track for track in frame.memory}
        found = {
            number: score for number, score in enumerate(seen.amax((1, 2)).tolist(), start=1)
            if score > tracker.lowest(number)
        }
        new = [n for n in found if n not in known and found[n] >= tracker.birth_threshold]
        new = new[:max(tracker.capacity - len(known), 0)]
        tracks = [
            self._renewed(frame, known[n], found[n], seen[n - 1])
            if n in found else replace(known[n], age=known[n].age + 1, missed=known[n].missed + 1)
            for n in known
        ]
        for number, class_id in enumerate(new, start=frame.next_id):
            mask, box = self._mask(frame, seen[class_id - 1])
            tracks.append(ToyTrack(
                number, class_id, found[class_id], box, mask, frame.stamp, frame.stamp))
        kept = tuple(track for track in tracks if not tracker.ends(track))
        return StepResult(shown(tracks, tracker, frame.size), len(new), kept)

    def _renewed(
        self, frame: StreamFrame[Memory], track: ToyTrack, score: float, heat: Tensor
    ) -> ToyTrack:
        mask, box = self._mask(frame, heat)
        return replace(
            track, score=score, box=box, mask=mask, last_detected=frame.stamp,
            age=track.age + 1, hits=track.hits + 1, missed=0,
        )

    def _mask(
        self, frame: StreamFrame[Memory], heat: Tensor
    ) -> tuple[RegionMask, tuple[float, ...]]:
        height, width = frame.size
        pixels = cv2.resize(heat.numpy(), (width, height), interpolation=cv2.INTER_NEAREST) > 0.5
        mask = RegionMask.from_full(np.asarray(pixels).reshape(height, width))
        corners = (mask.x_offset, mask.y_offset, mask.x_offset + mask.width,
                   mask.y_offset + mask.height)
        return mask, tuple(c / s for c, s in zip(corners, (width, height) * 2, strict=True))


def shown(tracks: Sequence[ToyTrack], tracker: ToyTracker, size: Size) -> ShownTracks:
    def integers(name: str) -> Any:
        return np.array([getattr(track, name) for track in tracks], np.int64)

    scores = np.array([track.score for track in tracks], np.float32)
    boxes = np.array([track.box for track in tracks], np.float64).reshape(-1, 4)
    missed = integers('missed')
    return ShownTracks(
        ids=integers('id'), classes=integers('class_id'), scores=scores, detection_scores=scores,
        ages=integers('age'), hits=integers('hits'), missed=missed,
        first_seen=integers('first_seen'), last_detected=integers('last_detected'),
        ended=np.array([tracker.ends(track) for track in tracks], bool),
        boxes=boxes * (size[1], size[0], size[1], size[0]),
        masks=[track.mask for track in tracks],
    )


@dataclass(frozen=True)
class ToyLossOptions:
    """weight: of the only term."""

    weight: float = 1.0


@dataclass(frozen=True)
class ToyLosses:
    heat: Tensor

    @property
    def total(self) -> Tensor:
        return self.heat

    def terms(self) -> dict[str, Tensor]:
        return {'heat': self.heat}


class ToyStep(nn.Module):
    def __init__(self, network: ToyNetwork, options: ToyLossOptions) -> None:
        super().__init__()
        self.network = network
        self.options = options

    def forward(self, batch: Sequence[Sequence[AnnotatedFrame]]) -> ToyLosses:
        frames = [frame for clip in batch for frame in clip]
        size = frames[0].image.shape[:2]
        logits = self.network(as_input([frame.image for frame in frames], size))
        truth = torch.zeros(len(frames), self.network.config.num_classes, *size)
        for row, frame in zip(truth, frames, strict=True):
            for mask, label in zip(frame.masks, frame.labels, strict=True):
                row[label - 1][torch.from_numpy(mask)] = 1
        truth = F.max_pool2d(truth, STRIDE)
        return ToyLosses(
            self.options.weight * F.binary_cross_entropy_with_logits(logits, truth))


class ToyTraining:
    """Learns from three frames at a time."""

    loss_options = ToyLossOptions

    def clip_length(self, _options: ToyLossOptions) -> int:
        return 3

    def check(self, _configuration: ToyConfig, _precision: Precision, _device: Any) -> None:
        pass

    def initialise(self, network: ToyNetwork, seed: int) -> None:
        initialise(network, seed)

    def initial_tensors(
        self, _network: ToyNetwork, tensors: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        return tensors

    def example(
        self, configuration: ToyConfig, clip: Sequence[AnnotatedFrame],
        augmentation: Augmentation, rng: np.random.Generator,
    ) -> list[AnnotatedFrame]:
        assert len(clip) == 3
        flipped = augmentation.flip and bool(rng.integers(2))
        size = padded_to(scaled_size(clip[0].image.shape[:2], configuration.longest), 16)
        frames = [resized_frame(frame, size) for frame in clip]
        frames = [mirrored(frame) for frame in frames] if flipped else frames
        return color_jittered(frames, augmentation.color_jitter, rng)

    def step(self, network: ToyNetwork, options: ToyLossOptions, _precision: Precision) -> ToyStep:
        return ToyStep(network, options)

    def backbone(self, network: ToyNetwork) -> nn.Module:
        return network.stem

    def stages(self, _network: ToyNetwork) -> Sequence[nn.Module]:
        return []

    def parameter_groups(self, network: ToyNetwork) -> Sequence[ParameterGroup]:
        return [
            ParameterGroup([network.heat.weight]),
            ParameterGroup([network.heat.bias], rate=2.0, decay=0.0),
        ]


def initialise(network: ToyNetwork, seed: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in (network.stem, network.heat):
            nn.init.normal_(layer.weight, std=0.5)
            nn.init.zeros_(layer.bias)


@dataclass(frozen=True)
class ToyFamily:
    name: str = 'toy'
    page: str = 'https://example.org/toy'
    official: tuple[OfficialCheckpoint, ...] = (
        OfficialCheckpoint('toy_best', 'toy', 'ovis', 12.3, 'https://example.org/toy_best', '!'),
    )
    training: ToyTraining = field(default_factory=ToyTraining)

    def configuration_names(self) -> Sequence[str]:
        return ['toy']

    def configuration(
        self, name: str, num_classes: int, options: Mapping[str, Any]
    ) -> ToyConfig:
        known = {f.name for f in fields(ToyConfig)}
        if name != 'toy' or set(options) - known:
            raise ValueError(f'unknown: {name!r} {sorted(options)}; known: toy {sorted(known)}')
        return ToyConfig(**{'num_classes': num_classes} | dict(options))

    def build(self, configuration: ToyConfig) -> ToyNetwork:
        return ToyNetwork(configuration)

    def initialise(self, network: ToyNetwork, seed: int) -> None:
        initialise(network, seed)

    def outputs(self, network: ToyNetwork) -> Mapping[str, Tensor]:
        return {'heat': network(moving_waves((32, 48)))}

    def renamed(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {key.replace('hot.', 'heat.'): value for key, value in tensors.items()}

    def recognise(
        self, tensors: Mapping[str, Tensor], configuration: str | None = None
    ) -> Recognised:
        names = {'stem.weight', 'stem.bias', 'heat.weight', 'heat.bias'}
        differences = len(names ^ set(tensors))
        if differences or configuration not in (None, 'toy'):
            raise UnrecognisedError('no toy', differences)
        classes, channels = tensors['heat.weight'].shape[:2]
        return Recognised('toy', classes, {'channels': channels})

    def tracker(self, settings: TrackerSettings, options: Mapping[str, Any]) -> ToyTracker:
        return settings.over(ToyTracker(), **options)

    def stepper(
        self, network: ToyNetwork, device: torch.device, precision: Precision, in_batches: bool
    ) -> ToyStepper:
        del precision, in_batches
        return ToyStepper(network.to(device), device)


TOY = ToyFamily()
