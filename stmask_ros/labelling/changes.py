# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Labels with something changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from stmask_ros.evaluation.dataset import Category, DatasetError
from stmask_ros.evaluation.rle import Rle
from stmask_ros.labelling.folder import Labels, LabelTrack


def track_of(labels: Labels, track_id: int) -> LabelTrack:
    """Return a track; DatasetError if there is none."""
    try:
        return labels.track(track_id)
    except KeyError:
        raise DatasetError(f'there is no track {track_id}') from None


def with_track(labels: Labels, track: LabelTrack) -> Labels:
    """Return labels with a track instead of the one of the same id, or a new one."""
    others = {each.id: each for each in labels.tracks} | {track.id: track}
    kept = [each for each in others.values() if each.id == track.id or any(each.masks)]
    return replace(labels, tracks=tuple(kept))


def with_masks(
    labels: Labels, track_id: int, masks: Mapping[int, Rle | None], are_carried: bool = False
) -> Labels:
    """Return labels with other masks of a track, by frame; without the track if none is left."""
    track = track_of(labels, track_id)
    changed = replace(
        track, masks=tuple(masks.get(frame, each) for frame, each in enumerate(track.masks)),
        carried=track.carried - masks.keys() | {
            frame for frame, mask in masks.items() if mask and are_carried})
    tracks = with_track(labels, changed).tracks
    return replace(labels, tracks=tuple(each for each in tracks if any(each.masks)))


def with_class(labels: Labels, name: str) -> Labels:
    """Return labels that have a class of this name; DatasetError if it is empty."""
    if not name.strip():
        raise DatasetError('name the class first, such as "pallet"')
    if name in {each.name for each in labels.categories}:
        return labels
    number = max((each.id for each in labels.categories), default=0) + 1
    return replace(labels, categories=(*labels.categories, Category(number, name)))


def class_id(labels: Labels, name: str) -> int:
    """Return the id of the class of this name, which there is."""
    return next(each.id for each in labels.categories if each.name == name)
