# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Chosen objects over time: followed, away, found again under another track id, lost. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

from stmask_ros.families.appearance import Appearance
from stmask_ros.masks import Float32Array, Int64Array, RegionMask
from stmask_ros.tracking.pointing import overlaps
from stmask_ros.tracking.results import FrameResult, TrackStatus

_NANOSECONDS = 1e9

# How much more alike than every other pair an object and the track that continues it must be.
LEAST_LEAD = 0.05
# Without embeddings: least overlap (IoU) of the boxes, before and after.
LEAST_OVERLAP = 0.5
# Of the newest embedding in the mean over the detections of an object.
_NEWEST = 0.1


class SelectionStatus(IntEnum):
    """Values of SelectedInstance.status."""

    FOLLOWED = 1
    AWAY = 2
    LOST = 3


@dataclass(frozen=True)
class Reacquisition:
    """
    When an object that left counts as found again.

    time: after its last detection [s]. likeness: least cosine of the embeddings [0, 1].
    """

    time: float
    likeness: float


@dataclass(frozen=True)
class SelectedObject:
    """
    A chosen object.

    selected_id: the track id under which it was chosen. last: what the newest result that shows
    it says of it, one row. seen_at: time of its last detection [ns]. newest_id: highest track id
    then: what continues it is younger. ended: its track was given up. appearance: mean embedding
    [size] of its detections, of length 1; None before the first, and where the family has none.
    reacquired: how often it was found again. likeness: the last time; NaN for never.
    """

    selected_id: int
    last: FrameResult
    seen_at: int
    newest_id: int
    status: SelectionStatus = SelectionStatus.FOLLOWED
    ended: bool = False
    appearance: Float32Array | None = None
    reacquired: int = 0
    likeness: float = float('nan')

    @property
    def track_id(self) -> int:
        """Of the track that is, or last was, this object's."""
        return int(self.last.track_ids[0])


def chosen(result: FrameResult, track_id: int, now: int) -> SelectedObject:
    """
    Return an object that is chosen now [ns], by its track in a result.

    Raises ValueError if the track is not in the result.
    """
    (rows,) = np.nonzero(result.track_ids == track_id)
    if not len(rows):
        raise ValueError(f'track {track_id} is not in the result')
    last = result.rows([int(rows[0])])
    return SelectedObject(track_id, last, now, int(result.track_ids.max()))


def advanced(
    objects: Sequence[SelectedObject], result: FrameResult, appearance: Appearance | None,
    now: int, rules: Reacquisition,
) -> list[SelectedObject]:
    """
    Return the objects after one more result of their epoch, in their order.

    appearance: of the tracks after that result. now: time of its image [ns].
    """
    rows = {track_id: row for row, track_id in enumerate(result.track_ids.tolist())}
    moved = [
        _followed(item, result, rows.get(item.track_id), appearance, now) for item in objects
    ]
    found = _found_again(moved, result, appearance, rules.likeness)
    return [
        _judged(_continued(item, result, found.get(i), appearance, now), now, rules.time)
        for i, item in enumerate(moved)
    ]


def _followed(
    item: SelectedObject, result: FrameResult, row: int | None, appearance: Appearance | None,
    now: int,
) -> SelectedObject:
    if row is None:
        return _away(item)
    item = replace(item, last=result.rows([row]))
    if result.statuses[row] == TrackStatus.TERMINATED:
        return replace(_away(item), ended=True)
    if result.missed[row]:
        return replace(item, status=SelectionStatus.FOLLOWED)
    seen = appearance.of_track(item.track_id) if appearance is not None else None
    return replace(
        item, status=SelectionStatus.FOLLOWED, seen_at=now,
        appearance=_mean(item.appearance, seen),
        newest_id=max(item.newest_id, int(result.track_ids.max())),
    )


def _away(item: SelectedObject) -> SelectedObject:
    last = replace(item.last, masks=[RegionMask.empty()])
    return replace(item, last=last, status=SelectionStatus.AWAY)


def _mean(old: Float32Array | None, new: Float32Array | None) -> Float32Array | None:
    if old is None or new is None or old.shape != new.shape:
        return old if new is None else new
    mixed = (1 - _NEWEST) * old + _NEWEST * new
    return np.asarray(mixed / max(float(np.linalg.norm(mixed)), 1e-6), np.float32)


@dataclass(frozen=True)
class _Found:
    row: int
    likeness: float


def _found_again(
    objects: Sequence[SelectedObject], result: FrameResult, appearance: Appearance | None,
    least: float,
) -> dict[int, _Found]:
    """
    Return, by the number of the object, the row of the track that continues it.

    Wrong is worse than none: a pair must be clearly more alike than all others of either.
    """
    away = [i for i, item in enumerate(objects) if item.ended]
    rows = _candidates(objects, result)
    if not away or not len(rows):
        return {}
    if appearance is None:
        least = LEAST_OVERLAP
    alike = np.stack([_likeness(objects[i], result, rows, appearance) for i in away])
    found = {}
    for number, i in enumerate(away):
        column = int(alike[number].argmax())
        best = float(alike[number, column])
        others = np.concatenate((np.delete(alike[number], column),
                                 np.delete(alike[:, column], number), [-np.inf]))
        if best >= least and best - others.max() >= LEAST_LEAD:
            found[i] = _Found(int(rows[column]), best)
    return found


def _candidates(objects: Sequence[SelectedObject], result: FrameResult) -> Int64Array:
    taken = np.isin(result.track_ids, [item.track_id for item in objects])
    seen = (result.statuses == TrackStatus.CONFIRMED) & (result.missed == 0)
    return np.flatnonzero(seen & ~taken)


def _likeness(
    item: SelectedObject, result: FrameResult, rows: Int64Array, appearance: Appearance | None
) -> Float32Array:
    """Return how alike an object and tracks are [N]; -1 for those that it cannot be."""
    possible = (result.class_ids[rows] == item.last.class_ids[0]) & (
        result.track_ids[rows] > item.newest_id)
    if appearance is None:
        alike = overlaps(item.last.boxes[0], result.boxes[rows])
    else:
        alike = _cosines(item.appearance, appearance, result.track_ids[rows])
    return np.where(possible, np.nan_to_num(alike, nan=-1), np.float32(-1))


def _cosines(
    embedding: Float32Array | None, appearance: Appearance, track_ids: Int64Array
) -> Float32Array:
    if embedding is None or embedding.shape != appearance.embeddings.shape[1:]:
        return np.full(len(track_ids), -1, np.float32)
    same = track_ids[:, None] == appearance.ids
    cosines = np.where(same, appearance.embeddings @ embedding, np.float32(-1))
    return np.asarray(cosines.max(1, initial=-1), np.float32)


def _continued(
    item: SelectedObject, result: FrameResult, found: _Found | None,
    appearance: Appearance | None, now: int,
) -> SelectedObject:
    if found is None:
        return item
    again = replace(item, last=result.rows([found.row]), ended=False,
                    reacquired=item.reacquired + 1, likeness=found.likeness)
    return _followed(again, result, found.row, appearance, now)


def _judged(item: SelectedObject, now: int, time: float) -> SelectedObject:
    gone = item.status is SelectionStatus.AWAY and (now - item.seen_at) / _NANOSECONDS > time
    return replace(item, status=SelectionStatus.LOST) if gone else item
