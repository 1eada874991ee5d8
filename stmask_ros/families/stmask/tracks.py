# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The memory of a stream: its tracks and the previous frame's features. Values, never changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from stmask_ros.families.class_thresholds import (
    OFF,
    ClassThresholds,
    check_thresholds,
    lowest_scores,
)
from stmask_ros.families.state import StreamState
from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.families.stmask.detection import Detections, NmsMode
from stmask_ros.families.stmask.preprocess import STRIDE
from stmask_ros.families.stmask.temporal_fusion import TemporalFeatures
from stmask_ros.layers.rows import Table

# StreamState: for one more release.
__all__ = ['StreamMemory', 'StreamState', 'TrackTable', 'TrackerConfig']


@dataclass(frozen=True)
class TrackerConfig:
    """
    How detections become tracks.

    score_threshold: lowest class probability of a detection, and lowest score shown [0, 1].
    class_thresholds: lowest score of each class, of a detection and shown; a class that is off
        still suppresses others, so that no thing comes back as its second best class. () for all.
    birth_threshold: lowest score of a detection that may start a track; a weaker one can only
        continue one [0, 1]. 0, as released, lets all of them.
    nms_threshold: IoU above which the weaker of two detections goes [0, 1].
    nms: whether classes suppress each other ('cross_class', as released) or not; 'best_class' in
        between lets things of two classes overlap and takes two boxes of one thing as one.
    max_detections: most detections that a frame may have after suppression, 100 in the paper;
        None for as many as there are, as released.
    matching: 'released' sums (1 + cosine) / 2, mask IoU and twice the box IoU (specification,
        section 11); 'paper' sums cosine and mask IoU (equation 15).
    new_track_score: a detection that matches no track better than this starts one; None takes
        the released 1.4, or 0.8 for the paper's matching score, whose threshold it leaves open.
    class_penalty: taken from the matching score of a detection of another class than the track's,
        times how much less likely it has that class than its own, 0 or more; 0 as released.
    weak_overlap: lowest box IoU of a track and a detection too weak to start one that continues
        it [0, 1]; 0 as released.
    search_margin: a detection that would start a track continues one that no other did, if they
        match with boxes grown by so much of their size on each side, 0 or more; 0, as released,
        does not look again.
    max_missed: frames in a row that a track is carried without a detection.
    score_decay: factor on a carried track's score, each frame.
    coasting_per_hit: most frames in a row that a track is shown without a detection, for each that
        detected it, 0 or more; it is remembered for max_missed all the same. None, as released,
        for no such limit.
    min_mask_area: a mask of this many cells or fewer is not shown [cells of stride 4].
    confirm_hits: detections that make a track CONFIRMED.
    class_memory: how far a track's class is the one that all its detections say: the sum of their
        class probabilities, where the weight of each falls by this factor with each further one
        [0, 1]; 0, as released, takes the class of the latest.
    retirement: 'missed' forgets a track once it was missed more than max_missed times, and
        ignores detections that are too weak to be shown; 'never' keeps everything, as the
        released code does, so that a lost object can be found again after any time, and memory
        and time per frame grow for as long as the stream lasts.
    capacity: most tracks kept; the strongest new ones are taken first. 'never' has no such bound.
    """

    score_threshold: float = 0.05
    class_thresholds: ClassThresholds = ()
    birth_threshold: float = 0.0
    nms_threshold: float = 0.5
    nms: NmsMode = 'cross_class'
    max_detections: int | None = None
    matching: Literal['released', 'paper'] = 'released'
    new_track_score: float | None = None
    class_penalty: float = 0.0
    weak_overlap: float = 0.0
    search_margin: float = 0.0
    max_missed: int = 10
    score_decay: float = 0.95
    coasting_per_hit: float | None = None
    min_mask_area: int = 1
    confirm_hits: int = 3
    class_memory: float = 0.0
    retirement: Literal['missed', 'never'] = 'missed'
    capacity: int = 64

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        for name in (
            'score_threshold', 'birth_threshold', 'nms_threshold', 'score_decay', 'class_memory',
            'weak_overlap',
        ):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f'{name}: expected 0 to 1, got {getattr(self, name)}')
        for name, lowest in (
            ('class_penalty', 0), ('search_margin', 0), ('max_missed', 0), ('min_mask_area', 0),
            ('confirm_hits', 1), ('capacity', 1),
        ):
            if not getattr(self, name) >= lowest:
                raise ValueError(f'{name}: expected {lowest} or more, got {getattr(self, name)}')
        check_thresholds(self.class_thresholds)
        if self.coasting_per_hit is not None and not self.coasting_per_hit >= 0:
            raise ValueError(f'coasting_per_hit: expected 0 or more, got {self.coasting_per_hit}')
        if self.max_detections is not None and self.max_detections < 1:
            raise ValueError(f'max_detections: expected 1 or more, got {self.max_detections}')


@dataclass(frozen=True)
class TrackTable(Table):
    """
    N tracks, in the order of their ids; with a B in front for a batch, see Table.

    ids: int64 [N], from 1. boxes: [N, 4], fractions of the padded input. classes: int64 [N].
    class_scores: [N, classes], the sum of its detections', see class_memory.
    scores, detection_scores: [N], now and at the last detection. masks: soft, [N, H / 4, W / 4].
    coefficients: [N, prototypes], before their tanh. embeddings: [N, size].
    ages, hits, missed: int64 [N] frames. first_seen, last_detected: int64 [N] [ns].
    reported: int64 [N], 1 once a result has shown it.
    """

    mark: ClassVar[str] = 'ids'
    ids: Tensor
    boxes: Tensor
    classes: Tensor
    class_scores: Tensor
    scores: Tensor
    detection_scores: Tensor
    masks: Tensor
    coefficients: Tensor
    embeddings: Tensor
    ages: Tensor
    hits: Tensor
    missed: Tensor
    first_seen: Tensor
    last_detected: Tensor
    reported: Tensor

    def aged(self) -> TrackTable:
        """Return the tracks one frame later, before any of them is detected again."""
        return replace(self, ages=self.ages + 1, missed=self.missed + 1)

    def joined(self, other: TrackTable) -> TrackTable:
        """Return these rows and the other's after them."""
        axis = self.ids.dim() - 1
        return TrackTable(*(
            torch.cat((getattr(self, f.name), getattr(other, f.name)), axis)
            for f in fields(self)
        ))

    def kept(self, config: TrackerConfig) -> TrackTable:
        """Return the tracks to remember: not those missed too long, nor of a class that is off."""
        kept = self.valid
        if config.retirement != 'never':
            kept = kept & (self.missed <= config.max_missed)
        if config.class_thresholds:
            kept = kept & (lowest_scores(config.class_thresholds, self.classes) < OFF)
        return self.only(kept)

    @classmethod
    def born(
        cls, detections: Detections, masks: Tensor, ids: Tensor, stamp: int | Tensor
    ) -> TrackTable:
        """Return a new track for every detection."""
        one = torch.ones_like(ids)
        return cls(
            ids, detections.boxes, detections.classes, detections.class_scores, detections.scores,
            detections.scores, masks, detections.coefficients, detections.embeddings,
            one, one, one * 0, one * stamp, one * stamp, one * 0,
        )

    @classmethod
    def stacked(cls, tables: Sequence[TrackTable], rows: int) -> TrackTable:
        """Return the tables of several frames as one of a batch, each padded to so many rows."""
        return cls(*(
            torch.stack([_padded(getattr(table, f.name), rows) for table in tables])
            for f in fields(cls)
        ))

    def frames(self, counts: Sequence[int]) -> list[TrackTable]:
        """Return each frame of a batch by itself: its first rows, so many of them, copied."""
        first = self.first(max(counts))
        columns = [getattr(first, f.name).clone() for f in fields(self)]
        return [
            TrackTable(*(column[i, :count] for column in columns))
            for i, count in enumerate(counts)
        ]

    @classmethod
    def empty(cls, config: STMaskConfig, device: torch.device) -> TrackTable:
        """Return a table without tracks."""
        height, width = (-(-size // STRIDE) * STRIDE // 4
                         for size in (config.input_height, config.input_width))

        def none(*shape: int) -> Tensor:
            return torch.zeros(0, *shape, device=device)

        integers = torch.zeros(0, dtype=torch.int64, device=device)
        detections = Detections(
            none(4), none(), integers, none(config.num_classes), none(config.num_coefficients),
            none(config.embedding_size),
        )
        return cls.born(detections, none(height, width), integers, 0)


@dataclass(frozen=True)
class StreamMemory:
    """What a stream remembers. features: of the previous frame; None before the first."""

    tracks: TrackTable
    features: TemporalFeatures | None


def _padded(values: Tensor, rows: int) -> Tensor:
    return F.pad(values, (0, 0) * (values.dim() - 1) + (0, rows - len(values)))
