# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Which detection continues which track (specification, section 11). Pure functions."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from stmask_ros.families.class_thresholds import OFF, lowest_scores
from stmask_ros.families.stmask.detection import Detections
from stmask_ros.families.stmask.masks import mask_iou
from stmask_ros.families.stmask.tracks import TrackerConfig, TrackTable
from stmask_ros.layers.boxes import box_iou

RELEASED_NEW_TRACK_SCORE = 1.4
PAPER_NEW_TRACK_SCORE = 0.8
AMBIGUOUS_OVERLAP = 0.3


def similarity(
    detections: Detections, masks: Tensor, tracks: TrackTable, config: TrackerConfig
) -> Tensor:
    """Return the matching scores [..., D, 1 + tracks]; column 0 stands for a new track."""
    cosine = detections.embeddings @ tracks.embeddings.mT
    overlap = mask_iou(masks, tracks.masks)
    if config.matching == 'paper':
        scores, new = cosine + overlap, PAPER_NEW_TRACK_SCORE
    else:
        scores = (1 + cosine) / 2 + overlap + 2 * box_iou(detections.boxes, tracks.boxes)
        new = RELEASED_NEW_TRACK_SCORE
    if config.new_track_score is not None:
        new = config.new_track_score
    if config.class_penalty:
        other = detections.classes.unsqueeze(-1) != tracks.classes.unsqueeze(-2)
        scores = scores - config.class_penalty * other
    known = tracks.valid
    if config.class_thresholds:
        known = known & (lowest_scores(config.class_thresholds, tracks.classes) < OFF)
    scores = scores.masked_fill(~known.unsqueeze(-2), -torch.inf)
    return F.pad(scores, (1, 0), value=new)


class Association(NamedTuple):
    """The tracks as they are in this frame, and as the next frame is to remember them."""

    current: TrackTable
    remembered: TrackTable


def associate(
    tracks: TrackTable,
    detections: Detections,
    masks: Tensor,
    next_id: int | Tensor,
    stamp: int | Tensor,
    config: TrackerConfig,
    fused: bool = True,
) -> Association:
    """
    Join the detections of a frame, or of each of a batch, to the tracks.

    tracks: carried to this frame already, if fused. masks: soft, [..., detections, H, W].
    next_id, stamp: int64 [B, 1] for a batch. Detected tracks are renewed, new ones come after.
    A track takes the strongest detection that chose it; the others that did are dropped. Without
    temporal fusion, a detection over several remembered masks renews none of them.
    """
    chosen = similarity(detections, masks, tracks, config).argmax(-1)
    hit = torch.zeros_like(tracks.valid)
    if len(detections) and len(tracks):
        best, hit = _strongest_choice(chosen, detections.valid, len(tracks))
    new = (chosen == 0) & detections.valid & (detections.scores >= config.birth_threshold)
    if config.retirement != 'never':
        # What ends in this frame leaves its place to what begins.
        stays = tracks.valid & (hit | (tracks.missed <= config.max_missed))
        room = config.capacity - stays.sum(-1, keepdim=True)
        new &= new.cumsum(-1) <= room
    ids = (next_id + new.cumsum(-1) - 1) * new
    found = TrackTable.born(detections, masks, ids, stamp)
    current = remembered = tracks
    if len(detections) and len(tracks):
        seen = _classified(tracks, found.rows(best), config.class_memory)
        counted = _counted(tracks, hit, stamp)
        current = remembered = _renewed(counted, hit, seen)
        if not fused:
            overlaps = mask_iou(seen.masks, tracks.masks) > AMBIGUOUS_OVERLAP
            clear = (overlaps & tracks.valid.unsqueeze(-2)).sum(-1) < 2
            remembered = _renewed(counted, hit & clear, seen)
    born = found.only(new)
    return Association(current.joined(born), remembered.joined(born))


def _strongest_choice(chosen: Tensor, valid: Tensor, tracks: int) -> tuple[Tensor, Tensor]:
    # For each track the detection that renews it, and whether there is one.
    detections = chosen.shape[-1]
    # Detections come by falling score, so the first that chose a track is the strongest.
    order = torch.arange(detections, device=chosen.device).expand_as(chosen)
    first = order.new_full((*chosen.shape[:-1], tracks + 1), detections)
    first = first.scatter_reduce(-1, chosen * valid, order, 'amin')[..., 1:]
    return first.clamp(max=detections - 1), first < detections


def _classified(tracks: TrackTable, seen: TrackTable, memory: float) -> TrackTable:
    # A weighted majority vote (Boyer and Moore) that forgets: one number a track is enough.
    same = seen.classes == tracks.classes
    votes = torch.where(same, seen.scores, -seen.scores)
    support = memory * tracks.class_support + votes
    classes = torch.where(same | (support > 0), tracks.classes, seen.classes)
    return replace(seen, classes=classes, class_support=support.abs())


def _counted(tracks: TrackTable, hit: Tensor, stamp: int | Tensor) -> TrackTable:
    return replace(
        tracks,
        hits=tracks.hits + hit,
        missed=tracks.missed * ~hit,
        last_detected=torch.where(hit, stamp, tracks.last_detected),
    )


def _renewed(tracks: TrackTable, hit: Tensor, seen: TrackTable) -> TrackTable:
    def renewed(name: str) -> Tensor:
        old: Tensor = getattr(tracks, name)
        where = hit.view(*hit.shape, *(1,) * (old.dim() - hit.dim()))
        return torch.where(where, getattr(seen, name), old)

    return replace(tracks, **{name: renewed(name) for name in _RENEWED})


_RENEWED = (
    'boxes', 'classes', 'class_support', 'scores', 'detection_scores', 'masks', 'coefficients',
    'embeddings',
)
