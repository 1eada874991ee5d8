# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The tracks that a stream remembers, and the rules that they follow. Values, never changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from stmask_ros.families.class_thresholds import (
    OFF,
    ClassThresholds,
    check_thresholds,
    lowest_scores,
)
from stmask_ros.families.sipmask.association import Seen
from stmask_ros.families.sipmask.config import SipMaskConfig
from stmask_ros.families.sipmask.detection import DetectionRules, Survivors
from stmask_ros.layers.rows import Table


@dataclass(frozen=True)
class SipMaskTracker:
    """
    How cells become detections, and detections tracks.

    score_threshold: lowest score of a detection, class probability times centerness [0, 1].
    class_thresholds: the same by class; () for one for all.
    birth_threshold: lowest score of one that may start a track [0, 1].
    nms_threshold: IoU above which the weaker of two detections of a class goes [0, 1].
    candidates: cells of a level, and boxes of a class, that are looked at.
    max_detections: most of a frame, the strongest.
    max_missed: frames in a row that a track is remembered without a detection; it is not shown
        in them.
    confirm_hits: detections that make a track CONFIRMED.
    appearance: whether detections and tracks are compared by their embeddings.
    motion_weight: of the motion head in the matching scores, where SG-Net has one.
    shown_class: 'vote' shows the class that a track was seen with most often; 'detected' that of
        the frame, as published.
    retirement: 'missed' forgets a track once it was missed more than max_missed times; 'never'
        keeps every one, as published, so that memory and time grow with the stream.
    capacity: most tracks remembered: those missed longest are forgotten for new ones, and of
        more detections than it the weaker start no track. 'never' has no such bound.
    """

    score_threshold: float = 0.03
    class_thresholds: ClassThresholds = ()
    birth_threshold: float = 0.0
    nms_threshold: float = 0.5
    candidates: int = 200
    max_detections: int = 10
    max_missed: int = 30
    confirm_hits: int = 3
    appearance: bool = True
    motion_weight: float = 3.0
    shown_class: Literal['vote', 'detected'] = 'vote'
    retirement: Literal['missed', 'never'] = 'missed'
    capacity: int = 64

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        for name in ('score_threshold', 'birth_threshold', 'nms_threshold'):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f'{name}: expected 0 to 1, got {getattr(self, name)}')
        for name, lowest in (
            ('candidates', 1), ('max_detections', 1), ('max_missed', 0), ('confirm_hits', 1),
            ('capacity', 1), ('motion_weight', 0),
        ):
            if getattr(self, name) < lowest:
                raise ValueError(f'{name}: expected {lowest} or more, got {getattr(self, name)}')
        check_thresholds(self.class_thresholds)
        for name, choices in (
            ('shown_class', ('vote', 'detected')), ('retirement', ('missed', 'never'))
        ):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f'{name}: expected {" or ".join(choices)}, got {getattr(self, name)!r}'
                )

    @classmethod
    def as_published(cls, **changes: Any) -> SipMaskTracker:
        """Return the rules of the released code: nothing is forgotten, no class is voted on."""
        return replace(cls(shown_class='detected', retirement='never'), **changes)

    @property
    def detection(self) -> DetectionRules:
        """Of a frame by itself."""
        return DetectionRules(
            self.score_threshold, self.nms_threshold, self.candidates, self.max_detections,
            self.class_thresholds,
        )


@dataclass(frozen=True)
class TrackTable(Table):
    """
    N tracks, in the order of their ids; with a B in front for a batch, see Table.

    ids: int64 [N], from 1. boxes: [N, 4] [pixel of the image], scores: [N], embeddings: [N, size],
    of the last detection. classes: int64 [N], of the first, from 1. votes: int64 [N, classes],
    detections of each class. ages, hits, missed: int64 [N] frames. first_seen, last_detected:
    int64 [N] [ns].
    """

    mark: ClassVar[str] = 'ids'
    ids: Tensor
    boxes: Tensor
    scores: Tensor
    embeddings: Tensor
    classes: Tensor
    votes: Tensor
    ages: Tensor
    hits: Tensor
    missed: Tensor
    first_seen: Tensor
    last_detected: Tensor

    @property
    def seen(self) -> Seen:
        """What new detections are compared with."""
        return Seen(self.boxes, self.embeddings, self.classes * self.valid)

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

    def renewed(self, owned: Tensor, found: TrackTable) -> TrackTable:
        """
        Return the tracks with what a detection says of those that own one.

        owned: bool [N]. found: of each track the new track that its detection would make.
        """
        def latest(name: str) -> Tensor:
            old: Tensor = getattr(self, name)
            where = owned.view(*owned.shape, *(1,) * (old.dim() - owned.dim()))
            return torch.where(where, getattr(found, name), old)

        return replace(
            self, boxes=latest('boxes'), scores=latest('scores'),
            embeddings=latest('embeddings'), votes=self.votes + found.votes * owned.unsqueeze(-1),
            hits=self.hits + owned, missed=self.missed * ~owned,
            last_detected=latest('last_detected'),
        )

    def forgotten(self, rules: SipMaskTracker) -> Tensor:
        """Return bool [N], the tracks that the next frame is not to remember."""
        off = torch.zeros_like(self.valid)
        if rules.class_thresholds:
            lowest = lowest_scores(rules.class_thresholds, self.votes.argmax(-1) + 1)
            off = self.valid & (lowest == OFF)
        if rules.retirement == 'never':
            return off
        missed = self.missed.masked_fill(~self.valid, torch.iinfo(torch.int64).max)
        rank = missed.argsort(dim=-1, stable=True).argsort(dim=-1)
        return off | self.valid & ((self.missed > rules.max_missed) | (rank >= rules.capacity))

    @classmethod
    def born(
        cls, detections: Survivors, embeddings: Tensor, ids: Tensor, stamp: int | Tensor,
        num_classes: int,
    ) -> TrackTable:
        """Return a new track for every detection."""
        one = torch.ones_like(ids)
        number = torch.arange(1, num_classes + 1, device=ids.device)
        return cls(
            ids, detections.boxes, detections.scores, embeddings, detections.classes,
            (detections.classes.unsqueeze(-1) == number).long(),
            one, one, one * 0, one * stamp, one * stamp,
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
        return [
            TrackTable(*(getattr(self, f.name)[i, :count].clone() for f in fields(self)))
            for i, count in enumerate(counts)
        ]

    @classmethod
    def empty(cls, config: SipMaskConfig, device: torch.device) -> TrackTable:
        """Return a table without tracks."""
        integers = torch.zeros(0, dtype=torch.int64, device=device)
        none = torch.zeros(0, device=device)
        detections = Survivors(none.view(0, 4), none, integers, integers)
        return cls.born(
            detections, none.view(0, config.embedding_size), integers, 0, config.num_classes
        )


def _padded(values: Tensor, rows: int) -> Tensor:
    return F.pad(values, (0, 0) * (values.dim() - 1) + (0, rows - len(values)))
