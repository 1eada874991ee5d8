# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Masks that are on their way through the pictures that follow.

What is still to be carried is part of the labels: each track says from which frames, and up to
which. So a carry that was cut off goes on when the folder is opened again, and one is obsolete as
soon as the labels do not say so any more, whatever a person did.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import takewhile

from stmask_ros.evaluation.rle import Rle
from stmask_ros.labelling.changes import track_of, with_masks, with_track
from stmask_ros.labelling.folder import Labels, LabelTrack

# Pictures that a mask is carried on to: farther away, it rarely fits.
_FARTHEST = 60


@dataclass(frozen=True)
class Carry:
    """The mask of a track in a frame, to be carried on to those that follow, before `end`."""

    track_id: int
    video_id: int
    frame: int
    end: int
    mask: Rle


def first_carry(labels: Labels) -> Carry | None:
    """Return what is to be carried first, that from the earliest frame; None if nothing is."""
    carries = [
        Carry(track.id, track.video_id, frame, end, mask)
        for track in labels.tracks for frame, end in track.carrying.items()
        if (mask := track.masks[frame]) is not None]
    return min(carries, key=lambda each: (each.video_id, each.frame, each.track_id), default=None)


def coming_to(track: LabelTrack) -> frozenset[int]:
    """Return the frames that a mask may still be carried to."""
    return frozenset(
        other for frame, end in track.carrying.items() for other in range(frame + 1, end))


def end_of_carry(labels: Labels, track_id: int, frame: int) -> int:
    """
    Return the frame before which a mask that goes on from a frame has to stop.

    That is the first that a person finished, or that has a mask that was not carried there.
    """
    track = track_of(labels, track_id)
    following = range(frame + 1, min(len(track.masks), frame + 1 + _FARTHEST))
    return frame + 1 + len(list(takewhile(lambda each: _is_open(labels, track, each), following)))


def without_carries(labels: Labels, track_id: int, frames: range) -> Labels:
    """Return labels in which no mask of a track is carried from or to these frames."""
    track = track_of(labels, track_id)
    return _with_carrying(labels, track, (
        (frame, min(end, frames.start) if frame < frames.start else end)
        for frame, end in track.carrying.items() if frame not in frames))


def with_carry(labels: Labels, track_id: int, frame: int) -> Labels:
    """Return labels in which a mask is to be carried on, in place of what was carried there."""
    frames = range(frame, end_of_carry(labels, track_id, frame))
    others = with_masks(
        without_carries(labels, track_id, frames), track_id, dict.fromkeys(frames[1:]))
    track = track_of(others, track_id)
    return _with_carrying(others, track, [*track.carrying.items(), (frame, frames.stop)])


def with_carried(
    labels: Labels, track_id: int, frame: int, before: Rle, mask: Rle | None
) -> Labels:
    """
    Return labels with a mask that was carried to a frame, or without that carry if it ends there.

    before: the mask in the frame before. mask: None if the thing was not found. The labels
    themselves are returned if they do not say that this mask is to be carried on.
    """
    track = next((each for each in labels.tracks if each.id == track_id), None)
    if track is None or frame - 1 not in track.carrying or track.masks[frame - 1] != before:
        return labels
    others = dict(track.carrying)
    end = others.pop(frame - 1)
    if mask is None or not _is_open(labels, track, frame):
        return _with_carrying(labels, track, others.items())
    changed = with_masks(labels, track_id, {frame: mask}, are_carried=True)
    return _with_carrying(
        changed, track_of(changed, track_id), [*others.items(), (frame, end)])


def _is_open(labels: Labels, track: LabelTrack, frame: int) -> bool:
    frames = next(each.frames for each in labels.videos if each.id == track.video_id)
    return not frames[frame].is_labelled and (
        track.masks[frame] is None or frame in track.carried)


def _with_carrying(
    labels: Labels, track: LabelTrack, carrying: Iterable[tuple[int, int]]
) -> Labels:
    left = {frame: end for frame, end in carrying if frame + 1 < end}
    return with_track(labels, replace(track, carrying=left))
