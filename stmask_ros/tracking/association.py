"""Which detection continues which track (specification, section 11). Pure functions."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from stmask_ros.network.boxes import box_iou
from stmask_ros.tracking.detection import Detections
from stmask_ros.tracking.masks import mask_iou
from stmask_ros.tracking.tracks import TrackerConfig, TrackTable

RELEASED_NEW_TRACK_SCORE = 1.4
PAPER_NEW_TRACK_SCORE = 0.8
AMBIGUOUS_OVERLAP = 0.3


def similarity(
    detections: Detections, masks: Tensor, tracks: TrackTable, config: TrackerConfig
) -> Tensor:
    """Return the matching scores [detections, 1 + tracks]; column 0 stands for a new track."""
    cosine = detections.embeddings @ tracks.embeddings.t()
    overlap = mask_iou(masks, tracks.masks)
    if config.matching == 'paper':
        scores, new = cosine + overlap, PAPER_NEW_TRACK_SCORE
    else:
        scores = (1 + cosine) / 2 + overlap + 2 * box_iou(detections.boxes, tracks.boxes)
        new = RELEASED_NEW_TRACK_SCORE
    if config.new_track_score is not None:
        new = config.new_track_score
    return torch.cat((scores.new_full((len(scores), 1), new), scores), 1)


class Association(NamedTuple):
    """The tracks as this frame shows them, and as the next frame is to remember them."""

    shown: TrackTable
    remembered: TrackTable


def associate(
    tracks: TrackTable,
    detections: Detections,
    masks: Tensor,
    next_id: int,
    stamp: int,
    config: TrackerConfig,
    fused: bool = True,
) -> Association:
    """
    Join the detections of a frame to the tracks: detected ones renewed, new ones appended.

    tracks: carried to this frame already, if fused. masks: soft, [detections, H, W].
    A track takes the strongest detection that chose it; the others that did are dropped. Without
    temporal fusion, a detection over several remembered masks renews none of them.
    """
    chosen = similarity(detections, masks, tracks, config).argmax(1)
    # Detections come by falling score, so the first that chose a track is the strongest.
    index = torch.arange(len(detections), device=chosen.device)
    first = torch.full((len(tracks) + 1,), len(detections), device=chosen.device)
    first.scatter_reduce_(0, chosen, index, 'amin')
    rows = (first[1:] < len(detections)).nonzero().squeeze(1)
    by = first[1:][rows]
    new = (chosen == 0).nonzero().squeeze(1)
    if config.retirement != 'never':
        new = new[:max(config.capacity - len(tracks), 0)]
    born = TrackTable.born(detections.rows(new), masks[new], next_id, stamp)
    counted = _count(tracks, rows, stamp)
    shown = _renew(counted, rows, detections, by, masks)
    remembered = shown
    if not fused:
        clear = (mask_iou(masks[by], tracks.masks) > AMBIGUOUS_OVERLAP).sum(1) < 2
        remembered = _renew(counted, rows[clear], detections, by[clear], masks)
    return Association(shown.joined(born), remembered.joined(born))


def _count(tracks: TrackTable, rows: Tensor, stamp: int) -> TrackTable:
    return replace(
        tracks,
        hits=tracks.hits.index_add(0, rows, torch.ones_like(rows)),
        missed=tracks.missed.index_fill(0, rows, 0),
        last_detected=tracks.last_detected.index_fill(0, rows, stamp),
    )


def _renew(
    tracks: TrackTable, rows: Tensor, detections: Detections, by: Tensor, masks: Tensor
) -> TrackTable:
    return replace(
        tracks,
        boxes=tracks.boxes.index_copy(0, rows, detections.boxes[by]),
        classes=tracks.classes.index_copy(0, rows, detections.classes[by]),
        scores=tracks.scores.index_copy(0, rows, detections.scores[by]),
        detection_scores=tracks.detection_scores.index_copy(0, rows, detections.scores[by]),
        masks=tracks.masks.index_copy(0, rows, masks[by]),
        coefficients=tracks.coefficients.index_copy(0, rows, detections.coefficients[by]),
        embeddings=tracks.embeddings.index_copy(0, rows, detections.embeddings[by]),
    )
