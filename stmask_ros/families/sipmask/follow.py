# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""One frame's detections join the tracks."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from stmask_ros.families.sipmask.association import Seen, match, matching_scores
from stmask_ros.families.sipmask.detection import Survivors
from stmask_ros.families.sipmask.tracks import SipMaskTracker, TrackTable
from stmask_ros.layers.rows import pick, used


class Followed(NamedTuple):
    """
    tracks: all tracks after the frame, also those that are forgotten after it.

    owners: int64 [..., N], the detection that each of them shows, or -1.
    claims: int64 [..., D], the row of the track that each detection had when its turn came, or
    -1: as published, where two detections may have one.
    """

    tracks: TrackTable
    owners: Tensor
    claims: Tensor


def follow(
    remembered: TrackTable, detections: Survivors, embeddings: Tensor, next_id: int | Tensor,
    stamp: int | Tensor, rules: SipMaskTracker, moved: Tensor | None = None,
) -> Followed:
    """
    Return the tracks after a frame, or after one of each stream of a batch.

    embeddings: [..., D, size]. next_id, stamp: int64 [B, 1] for a batch. moved: how well motion
    joins detections and tracks [..., D, N], at most 1.
    """
    tracks = remembered.aged()
    seen = Seen(detections.boxes, embeddings, detections.classes)
    totals = matching_scores(seen, detections.scores, tracks.seen, rules.appearance)
    if moved is not None:
        totals = totals + rules.motion_weight * F.pad(moved, (1, 0))
    matches = match(totals, detections.valid)
    new = matches.new & (detections.scores >= rules.birth_threshold)
    if rules.retirement != 'never':
        room = rules.capacity - (matches.owners >= 0).sum(-1, keepdim=True)
        new = new & (new.cumsum(-1) <= room)
    ids = (next_id + new.cumsum(-1) - 1) * new
    found = TrackTable.born(detections, embeddings, ids, stamp, tracks.votes.shape[-1])
    if len(detections) and len(tracks):
        tracks = tracks.renewed(matches.owners >= 0, found.rows(matches.owners.clamp(min=0)))
    order = torch.arange(len(detections), device=new.device).expand_as(new)
    born, sources = found.only(new), pick(torch.where(new, order, -1), used(new))
    claims = torch.where(new, len(tracks) + new.cumsum(-1) - 1, matches.claims)
    return Followed(tracks.joined(born), torch.cat((matches.owners, sources), -1), claims)
