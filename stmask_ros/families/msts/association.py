# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Which slot of a window is which track (specification, section 12, b)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stmask_ros.families.class_thresholds import are_off
from stmask_ros.families.msts.slots import Slots
from stmask_ros.families.msts.tracks import TrackerConfig, Tracks
from stmask_ros.masks import BoolArray, Int64Array


@dataclass(frozen=True)
class Association:
    """
    All tracks after a frame, those that end now among them.

    tracks: [N], in the order of their ids. rows: int64 [N], the slot of each, -1 where it was
    missed. ended: bool [N], forgotten after this frame. born: ids that were given away.
    """

    tracks: Tracks
    rows: Int64Array
    ended: BoolArray
    born: int

    def remembered(self) -> Tracks:
        """Return the tracks that go on."""
        return self.tracks.rows(np.flatnonzero(~self.ended))


def associate(
    tracks: Tracks, slots: Slots, next_id: int, stamp: int, config: TrackerConfig
) -> Association:
    """Give the slots of a window, best first, to tracks, or make tracks of them."""
    alike = likeness(tracks, slots).cpu().numpy()
    alike[are_off(config.class_thresholds, tracks.classes)] = 0
    row_of_track = matched(alike, config.new_track_likeness)
    free = np.setdiff1d(np.arange(len(slots)), row_of_track)
    free = free[slots.scores[free] >= config.birth_threshold]
    older = _continued(tracks, slots, row_of_track, stamp)
    kept = _that_stay(older, len(free), config)
    free = free[:config.capacity - int(kept.sum())]
    new = _born(slots, free, next_id, stamp)
    return Association(
        _joined(older, new), np.concatenate((row_of_track, free)),
        np.concatenate((~kept, np.zeros(len(free), bool))), len(free),
    )


def likeness(tracks: Tracks, slots: Slots) -> Tensor:
    """
    Return how like tracks are to slots, 0 to 1, [N, slots].

    The mean of the IoU of their masks in the frames that both know, and of the cosine of their
    embeddings; the cosine alone where no frame is known to both.
    """
    cosine = F.normalize(tracks.embeddings, dim=1) @ F.normalize(slots.embeddings, dim=1).t()
    cosine = cosine.clamp(min=0)
    shared = slots.masks.shape[1] - 1
    if len(tracks) == 0 or tracks.masks.shape[1] != shared or shared == 0:
        return cosine
    known = tracks.known[..., None]
    theirs = (tracks.masks.flatten(2) & known).flatten(1).float()
    ours = slots.masks[:, :shared].flatten(1).float()
    cells = tracks.masks.shape[-2] * tracks.masks.shape[-1]
    compared = known.expand(-1, -1, cells).flatten(1).float()
    both = theirs @ ours.t()
    either = theirs.sum(1, keepdim=True) + compared @ ours.t() - both
    overlap = both / either.clamp(min=1)
    return torch.where(tracks.known.any(1, keepdim=True), (overlap + cosine) / 2, cosine)


def matched(likeness: np.ndarray, least: float) -> Int64Array:
    """Return the slot of each track, int64 [N]; -1 for none. The sum of likenesses is largest."""
    slots = np.full(len(likeness), -1)
    good = np.where(likeness >= least, likeness, 0)
    from scipy.optimize import linear_sum_assignment  # slow to import

    rows, columns = linear_sum_assignment(good, maximize=True)
    liked = good[rows, columns] > 0
    slots[rows[liked]] = columns[liked]
    return slots


def _continued(tracks: Tracks, slots: Slots, row: Int64Array, stamp: int) -> Tracks:
    # The tracks one frame later, with what their slots say.
    found = row >= 0
    chosen = row[found]
    where = torch.from_numpy(np.flatnonzero(found)).to(tracks.embeddings.device)
    rows = torch.from_numpy(chosen).to(where.device)
    masks, known = _shifted(tracks, slots)
    masks[where], known[where] = slots.masks_to_keep[rows], True

    def with_slots(old: np.ndarray, new: np.ndarray) -> np.ndarray:
        values = old.copy()
        values[found] = new
        return values

    return Tracks(
        tracks.ids, with_slots(tracks.classes, slots.classes[chosen]), tracks.ages + 1,
        tracks.hits + found, np.where(found, 0, tracks.missed + 1), tracks.first_seen,
        np.where(found, stamp, tracks.last_detected),
        with_slots(tracks.scores, slots.scores[chosen]),
        with_slots(tracks.boxes, slots.boxes[chosen]),
        tracks.embeddings.index_copy(0, where, slots.embeddings[rows]), masks, known,
    )


def _shifted(tracks: Tracks, slots: Slots) -> tuple[Tensor, Tensor]:
    # The masks of tracks in the frames to keep, and which of them there are.
    keep = slots.masks_to_keep
    masks = keep.new_zeros((len(tracks), *keep.shape[1:]))
    known = tracks.known.new_zeros((len(tracks), keep.shape[1]))
    # The newest frame is not known; before it are the frames known so far.
    before = min(keep.shape[1] - 1, tracks.masks.shape[1])
    if before > 0 and tracks.masks.shape[2:] == masks.shape[2:]:
        masks[:, -1 - before:-1] = tracks.masks[:, -before:]
        known[:, -1 - before:-1] = tracks.known[:, -before:]
    return masks, known


def _that_stay(tracks: Tracks, new: int, config: TrackerConfig) -> BoolArray:
    # Not missed for too long, and with room for the new, who come before those missed longest.
    stay = np.ones(len(tracks), bool)
    if config.retirement != 'never':
        stay = tracks.missed <= config.max_missed
    stay &= ~are_off(config.class_thresholds, tracks.classes)
    detected = int((tracks.missed == 0).sum())
    room = max(config.capacity - new, min(detected, config.capacity))
    order = np.lexsort((tracks.ids, np.where(stay, tracks.missed, np.iinfo(np.int64).max)))
    stay[order[room:]] = False
    return stay


def _born(slots: Slots, rows: Int64Array, next_id: int, stamp: int) -> Tracks:
    index = torch.from_numpy(rows).to(slots.embeddings.device)
    ones = np.ones(len(rows), np.int64)
    masks = slots.masks_to_keep[index]
    return Tracks(
        next_id + np.arange(len(rows)), slots.classes[rows], ones, ones, 0 * ones, stamp * ones,
        stamp * ones, slots.scores[rows], slots.boxes[rows], slots.embeddings[index], masks,
        torch.ones(masks.shape[:2], dtype=torch.bool, device=masks.device),
    )


def _joined(first: Tracks, second: Tracks) -> Tracks:
    values: list[Any] = []
    for field in fields(Tracks):
        pair = getattr(first, field.name), getattr(second, field.name)
        values.append(
            torch.cat(pair) if isinstance(pair[0], Tensor) else np.concatenate(pair)
        )
    return Tracks(*values)
