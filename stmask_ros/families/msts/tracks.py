# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What a stream remembers: the frames of its window, and its tracks. Values, never changed."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from stmask_ros.families.class_thresholds import ClassThresholds, check_thresholds
from stmask_ros.families.msts.config import MSTSConfig
from stmask_ros.masks import Float32Array, Int64Array

Size = tuple[int, int]


@dataclass(frozen=True)
class TrackerConfig:
    """
    How the slots of a window become tracks.

    score_threshold: lowest class probability of a slot that may continue a track [0, 1].
    class_thresholds: the same by class; () for one for all.
    birth_threshold: lowest one that may start a track [0, 1].
    nms_threshold: IoU of masks, in all frames of the window, above which the weaker of two slots
        goes; 1 keeps all [0, 1].
    max_detections: most slots of a window that are looked at; the released code takes 10.
    new_track_likeness: a slot that is less like every track starts one [0, 1], see likeness().
    max_missed: frames in a row that a track is remembered without a slot.
    confirm_hits: slots that make a track CONFIRMED.
    retirement: 'missed' forgets a track once it was missed more than max_missed times; 'never'
        remembers it until others need its place.
    capacity: most tracks remembered; new ones take the places of those missed longest.
    """

    score_threshold: float = 0.1
    class_thresholds: ClassThresholds = ()
    birth_threshold: float = 0.3
    nms_threshold: float = 0.7
    max_detections: int = 20
    new_track_likeness: float = 0.5
    max_missed: int = 10
    confirm_hits: int = 3
    retirement: Literal['missed', 'never'] = 'missed'
    capacity: int = 64

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        for name in ('score_threshold', 'birth_threshold', 'nms_threshold', 'new_track_likeness'):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f'{name}: expected 0 to 1, got {getattr(self, name)}')
        for name, lowest in (
            ('max_detections', 1), ('max_missed', 0), ('confirm_hits', 1), ('capacity', 1)
        ):
            if getattr(self, name) < lowest:
                raise ValueError(f'{name}: expected {lowest} or more, got {getattr(self, name)}')
        check_thresholds(self.class_thresholds)
        if self.retirement not in ('missed', 'never'):
            raise ValueError(f"retirement: expected 'missed' or 'never', got {self.retirement!r}")


@dataclass(frozen=True)
class Tracks:
    """
    N tracks, in the order of their ids.

    ids, classes, ages, hits, missed, first_seen, last_detected: int64 [N]. scores: float32 [N],
    at the last detection. boxes: float32 [N, 4], corners as fractions of the image, at the last
    detection. embeddings: [N, channels], of the instance in its last window. masks: bool
    [N, F, h, w], in the F frames that the next window shares with the last one; known: bool
    [N, F], whether the track was there to have a mask.
    """

    ids: Int64Array
    classes: Int64Array
    ages: Int64Array
    hits: Int64Array
    missed: Int64Array
    first_seen: Int64Array
    last_detected: Int64Array
    scores: Float32Array
    boxes: Float32Array
    embeddings: Tensor
    masks: Tensor
    known: Tensor

    @classmethod
    def none(cls, channels: int, device: torch.device) -> Tracks:
        """Return no tracks."""
        none = np.zeros(0, np.int64)
        return cls(
            none, none, none, none, none, none, none,
            np.zeros(0, np.float32), np.zeros((0, 4), np.float32),
            torch.zeros((0, channels), device=device),
            torch.zeros((0, 0, 0, 0), dtype=torch.bool, device=device),
            torch.zeros((0, 0), dtype=torch.bool, device=device),
        )

    def __len__(self) -> int:
        """Return N."""
        return len(self.ids)

    def rows(self, index: Int64Array) -> Tracks:
        """Return chosen rows, in the order of index."""
        rows = torch.from_numpy(index).to(self.embeddings.device)
        values: list[Any] = [
            value[rows] if isinstance(value, Tensor) else value[index]
            for field in fields(self) for value in [getattr(self, field.name)]
        ]
        return Tracks(*values)


@dataclass(frozen=True)
class WindowFrame:
    """
    What is kept of a frame of the window.

    tokens: [S, channels], the encoder's memory; with an encoder that relates frames, what it
    reads. features: of masks [8, h, w]; with such an encoder, None.
    """

    tokens: Tensor
    features: Tensor | None = None


@dataclass(frozen=True)
class StreamMemory:
    """
    What a stream remembers.

    size: of the network's images in the window [pixel]. frames: the last ones, at most one less
    than the window has, oldest first.
    """

    size: Size | None
    frames: tuple[WindowFrame, ...]
    tracks: Tracks

    @classmethod
    def nothing(cls, config: MSTSConfig, device: torch.device) -> StreamMemory:
        """Return the memory of a stream of which nothing was seen yet."""
        return cls(None, (), Tracks.none(config.channels, device))
