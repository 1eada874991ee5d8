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
from stmask_ros.layers.boxes import box_iou, center_size, corners

RELEASED_NEW_TRACK_SCORE = 1.4
PAPER_NEW_TRACK_SCORE = 0.8
AMBIGUOUS_OVERLAP = 0.3
# What is less likely is never detected; rows that fill up a batch have none.
SMALLEST_SCORE = 1e-6


def similarity(
    detections: Detections, masks: Tensor, tracks: TrackTable, config: TrackerConfig
) -> Tensor:
    """Return the matching scores [..., D, 1 + tracks]; column 0 stands for a new track."""
    overlap = box_iou(detections.boxes, tracks.boxes)
    return _with_boxes(_likeness(detections, masks, tracks, overlap, config), overlap, config)


def _likeness(
    detections: Detections, masks: Tensor, tracks: TrackTable, box_overlap: Tensor,
    config: TrackerConfig,
) -> Tensor:
    # The part of the matching scores that is not of boxes [..., D, tracks].
    cosine = detections.embeddings @ tracks.embeddings.mT
    overlap = mask_iou(masks, tracks.masks)
    scores = (cosine if config.matching == 'paper' else (1 + cosine) / 2) + overlap
    if config.class_penalty:
        scores = scores - config.class_penalty * (1 - _agreement(detections, tracks))
    if config.weak_overlap:
        weak = detections.scores.unsqueeze(-1) < config.birth_threshold
        scores = scores.masked_fill(weak & (box_overlap < config.weak_overlap), -torch.inf)
    known = tracks.valid
    if config.class_thresholds:
        known = known & (lowest_scores(config.class_thresholds, tracks.classes) < OFF)
    return scores.masked_fill(~known.unsqueeze(-2), -torch.inf)


def _with_boxes(likeness: Tensor, box_overlap: Tensor, config: TrackerConfig) -> Tensor:
    new = PAPER_NEW_TRACK_SCORE
    if config.matching != 'paper':
        likeness, new = likeness + 2 * box_overlap, RELEASED_NEW_TRACK_SCORE
    if config.new_track_score is not None:
        new = config.new_track_score
    return F.pad(likeness, (1, 0), value=new)


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
    best, hit, new = _choices(tracks, detections, masks, config)
    if config.retirement != 'never':
        # What ends in this frame leaves its place to what begins.
        stays = tracks.valid & (hit | (tracks.missed <= config.max_missed))
        room = config.capacity - stays.sum(-1, keepdim=True)
        new &= new.cumsum(-1) <= room
    ids = (next_id + new.cumsum(-1) - 1) * new
    found = TrackTable.born(detections, masks, ids, stamp)
    current = remembered = tracks
    if len(detections) and len(tracks):
        seen = _classified(tracks, found.rows(best), config)
        counted = _counted(tracks, hit, stamp)
        current = remembered = _renewed(counted, hit, seen)
        if not fused:
            overlaps = mask_iou(seen.masks, tracks.masks) > AMBIGUOUS_OVERLAP
            clear = (overlaps & tracks.valid.unsqueeze(-2)).sum(-1) < 2
            remembered = _renewed(counted, hit & clear, seen)
    born = found.only(new)
    return Association(current.joined(born), remembered.joined(born))


class _Choices(NamedTuple):
    # best: int64 [..., tracks], the detection that renews a track where it is hit, bool. new: bool
    # [..., D], the detections that start one.

    best: Tensor
    hit: Tensor
    new: Tensor


def _choices(
    tracks: TrackTable, detections: Detections, masks: Tensor, config: TrackerConfig
) -> _Choices:
    overlap = box_iou(detections.boxes, tracks.boxes)
    likeness = _likeness(detections, masks, tracks, overlap, config)
    chosen = _with_boxes(likeness, overlap, config).argmax(-1)
    new = (chosen == 0) & detections.valid & (detections.scores >= config.birth_threshold)
    if not (len(detections) and len(tracks)):
        nothing = torch.zeros_like(tracks.ids)
        return _Choices(nothing, nothing > 0, new)
    best, hit = _strongest_choice(chosen, detections.valid, len(tracks))
    if not config.search_margin:
        return _Choices(best, hit, new)
    grown = box_iou(*(_grown(its.boxes, config.search_margin) for its in (detections, tracks)))
    lost = likeness.masked_fill(hit.unsqueeze(-2), -torch.inf)
    nearby = _with_boxes(lost, grown, config).argmax(-1)
    found, is_found = _strongest_choice(nearby, new, len(tracks))
    return _Choices(torch.where(hit, best, found), hit | is_found, new & (nearby == 0))


def _strongest_choice(chosen: Tensor, valid: Tensor, tracks: int) -> tuple[Tensor, Tensor]:
    # For each track the detection that renews it, and whether there is one.
    detections = chosen.shape[-1]
    # Detections come by falling score, so the first that chose a track is the strongest.
    order = torch.arange(detections, device=chosen.device).expand_as(chosen)
    first = order.new_full((*chosen.shape[:-1], tracks + 1), detections)
    first = first.scatter_reduce(-1, chosen * valid, order, 'amin')[..., 1:]
    return first.clamp(max=detections - 1), first < detections


def _grown(boxes: Tensor, margin: float) -> Tensor:
    centers, sizes = center_size(boxes).split(2, -1)
    return corners(torch.cat((centers, sizes * (1 + 2 * margin)), -1))


def _agreement(detections: Detections, tracks: TrackTable) -> Tensor:
    # How likely a detection has the track's class, of how likely it has its own [..., D, tracks].
    own, of_tracks = (classes.clamp(min=1) - 1 for classes in (detections.classes, tracks.classes))
    of_tracks = of_tracks.unsqueeze(-2).expand(*own.shape, -1)
    highest = detections.class_scores.gather(-1, own.unsqueeze(-1)).clamp(min=SMALLEST_SCORE)
    return (detections.class_scores.gather(-1, of_tracks) / highest).clamp(max=1)


def _classified(tracks: TrackTable, seen: TrackTable, config: TrackerConfig) -> TrackTable:
    if not config.class_memory:
        return seen
    summed = votes = config.class_memory * tracks.class_scores + seen.class_scores
    if config.class_thresholds:
        classes = torch.arange(1, 1 + votes.shape[-1], device=votes.device)
        votes = votes * (lowest_scores(config.class_thresholds, classes) < OFF)
    return replace(seen, classes=votes.argmax(-1) + 1, class_scores=summed)


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
    'boxes', 'classes', 'class_scores', 'scores', 'detection_scores', 'masks', 'coefficients',
    'embeddings',
)
