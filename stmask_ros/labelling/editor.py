# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A folder that is being labelled: every change is on the disk before it is answered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from itertools import islice, takewhile
from pathlib import Path
from typing import Protocol

from stmask_ros import output_files
from stmask_ros.evaluation.dataset import Category, DatasetError
from stmask_ros.evaluation.rle import Rle
from stmask_ros.labelling.exchange import Picture, Pictures, check_overlaps, masks_at
from stmask_ros.labelling.folder import (
    Labels,
    LabelTrack,
    check_pictures,
    decoded,
    encoded,
    read_labels,
    write_labels,
)
from stmask_ros.labelling.proposal import Box, Click, Hints
from stmask_ros.masks import BoolArray

_UNDO_STEPS = 200
# Pictures that a mask is carried on to at once, so that nobody waits long.
_FARTHEST = 60


class Proposer(Protocol):
    """What finds masks: see Viewer."""

    def proposed(self, picture: Picture, hints: Hints) -> BoolArray:
        """Return the mask of a thing of which there are hints."""
        ...

    def candidate(self, picture: Picture, click: Click) -> BoolArray | None:
        """Return a mask to start from; None if there is none."""
        ...

    def carried(self, mask: BoolArray, pictures: Sequence[Picture]) -> Iterator[BoolArray]:
        """Yield the masks of a thing in the pictures after the first, until it is not found."""
        ...


@dataclass(frozen=True)
class Moment:
    """Labels, and what was clicked of each track in each picture since it was selected."""

    labels: Labels
    hints: Mapping[tuple[int, int], Hints] = field(default_factory=dict)


def locked(folder: Path) -> AbstractContextManager[None]:
    """Keep others from labelling the same folder; OutputError if somebody does."""
    return output_files.locked(folder, f'{folder} is being labelled already, or written to')


class Editor:
    """
    The labels of a folder and what is done to them.

    Every method that changes them writes annotations.json, whole, before it returns. Pictures are
    numbered as Pictures numbers them. All raise DatasetError for what does not exist.

    A mask that a person made is carried on through the pictures that follow, in place of masks
    that were carried there before, up to one that the person finished, or that has another mask.
    """

    def __init__(self, folder: Path, proposer: Proposer) -> None:
        """Raise DatasetError or OSError if the folder cannot be labelled."""
        self._folder = folder
        self._proposer = proposer
        self._moment = Moment(read_labels(folder))
        check_pictures(folder, self.labels)
        self.pictures = Pictures.of(self.labels)
        if not self.pictures:
            raise DatasetError(f'{folder} has no pictures to label')
        self._before: list[Moment] = []

    @property
    def labels(self) -> Labels:
        """The labels as they are now, and on the disk."""
        return self._moment.labels

    def picture(self, number: int) -> Picture:
        """Return a picture by its number."""
        if not 0 <= number < len(self.pictures):
            raise DatasetError(f'there is no picture {number}: expected 0 to '
                               f'{len(self.pictures) - 1}')
        return self.pictures[number]

    def is_carried(self, number: int, track_id: int) -> bool:
        """Return whether a mask was carried to a picture, and no person has finished that."""
        picture = self.picture(number)
        frames = next(v.frames for v in self.labels.videos if v.id == picture.video_id)
        return (picture.frame in _track(self.labels, track_id).carried
                and not frames[picture.frame].is_labelled)

    def click(self, number: int, track_id: int | None, click: Click, name: str) -> int:
        """
        Correct the mask of a track, or begin a new one of this class; return its id.

        Raises DatasetError for a first click outside of a thing, which says nothing.
        """
        picture, hints = self.picture(number), self._hints(number, track_id)
        if not (0 <= click.x < picture.width and 0 <= click.y < picture.height):
            raise DatasetError('the click is outside of the picture')
        if hints.are_none:
            if not click.is_inside:
                raise DatasetError(
                    'click inside of a thing first, then outside to correct its mask')
            hints = Hints(base=self._proposer.candidate(picture, click))
        return self._propose(
            number, track_id, replace(hints, clicks=(*hints.clicks, click)), name)

    def draw_box(self, number: int, track_id: int | None, box: Box, name: str) -> int:
        """Find the thing in a box; otherwise as click()."""
        left, top, right, bottom = box
        if right - left < 2 or bottom - top < 2:
            raise DatasetError('draw a larger box: this one is less than two pixels wide or high')
        return self._propose(number, track_id, Hints(box=box), name)

    def carry(self, number: int, track_id: int) -> int:
        """Carry a mask on that a model or a tool made; return the next picture's number."""
        if track_id not in masks_at(self.labels, self.picture(number)):
            raise DatasetError(f'track {track_id} is not in this picture')
        following = number + 1
        if following == len(self.pictures) or self.pictures[following].frame == 0:
            raise DatasetError('this is the last picture of its video')
        if not self._following(self.labels, number, track_id):
            raise DatasetError('the next picture is done, or has a mask that was not carried')
        labels = self._carried_on(self.labels, number, track_id)
        if track_id not in masks_at(labels, self.pictures[following]):
            raise DatasetError(f'track {track_id} was not found in the next picture: click it')
        self._save(labels)
        return following

    def remove(self, number: int, track_id: int) -> None:
        """Take a track out of a picture, and the masks that were carried on from there."""
        picture = self.picture(number)
        _track(self.labels, track_id)
        frames = [picture.frame, *(
            each.frame for each in self._following(self.labels, number, track_id))]
        self._save(_with_masks(self.labels, track_id, dict.fromkeys(frames)))

    def rename(self, track_id: int, name: str) -> None:
        """Give a track another class, which may be new."""
        labels = _with_class(self.labels, name)
        track = replace(_track(labels, track_id), category_id=_class_id(labels, name))
        self._save(_with_track(labels, track))

    def mark(self, number: int, is_labelled: bool) -> None:
        """Say whether a person has finished a picture, in which no two tracks are one thing."""
        picture = self.picture(number)
        if is_labelled:
            check_overlaps(self.labels, self.pictures, [number])
        self._save(replace(self.labels, videos=tuple(
            replace(video, frames=tuple(
                replace(frame, is_labelled=is_labelled) if index == picture.frame else frame
                for index, frame in enumerate(video.frames)))
            if video.id == picture.video_id else video for video in self.labels.videos)))

    def undo(self) -> None:
        """Go back to before the last change; DatasetError if there was none."""
        if not self._before:
            raise DatasetError('there is nothing to undo since the program started')
        write_labels(self._folder, self._before[-1].labels)
        self._moment = self._before.pop()

    def _hints(self, number: int, track_id: int | None) -> Hints:
        """Return what was said of a track, or the mask that it came with."""
        picture = self.picture(number)
        if track_id is None:
            return Hints()
        _track(self.labels, track_id)
        mask = masks_at(self.labels, picture).get(track_id)
        given = Hints(base=None if mask is None else decoded(mask))
        return self._moment.hints.get((number, track_id), given)

    def _propose(self, number: int, track_id: int | None, hints: Hints, name: str) -> int:
        picture = self.picture(number)
        mask = encoded(self._proposer.proposed(picture, hints))
        if mask is None:
            raise DatasetError('nothing was found there: click at another place, or draw a box')
        labels = self.labels
        if track_id is None:
            labels = _with_class(labels, name)
            track_id = max((track.id for track in labels.tracks), default=0) + 1
            length = len(next(v for v in labels.videos if v.id == picture.video_id).frames)
            track = LabelTrack(
                track_id, picture.video_id, _class_id(labels, name), (None,) * length)
            labels = _with_track(labels, track)
        elif _track(labels, track_id).video_id != picture.video_id:
            raise DatasetError(f'track {track_id} is in another video: begin a new one')
        labels = _with_masks(labels, track_id, {picture.frame: mask})
        self._save(
            self._carried_on(labels, number, track_id),
            {**self._moment.hints, (number, track_id): hints})
        return track_id

    def _following(self, labels: Labels, number: int, track_id: int) -> list[Picture]:
        """Return the pictures that a track's mask in a picture is carried on to."""
        track, picture = _track(labels, track_id), self.picture(number)
        frames = next(v.frames for v in labels.videos if v.id == picture.video_id)

        def is_open(other: Picture) -> bool:
            return other.video_id == picture.video_id and not frames[other.frame].is_labelled and (
                track.masks[other.frame] is None or other.frame in track.carried)

        return list(takewhile(is_open, self.pictures[number + 1:number + 1 + _FARTHEST]))

    def _carried_on(self, labels: Labels, number: int, track_id: int) -> Labels:
        """Return labels with the mask of a track in a picture carried on from there."""
        picture = self.picture(number)
        following = self._following(labels, number, track_id)
        mask = masks_at(labels, picture)[track_id]
        found = map(encoded, self._proposer.carried(decoded(mask), [picture, *following]))
        masks: dict[int, Rle | None] = dict.fromkeys(each.frame for each in following)
        masks |= zip(masks, islice(takewhile(bool, found), len(masks)), strict=False)
        return _with_masks(labels, track_id, masks, are_carried=True)

    def _save(
        self, labels: Labels, hints: Mapping[tuple[int, int], Hints] | None = None
    ) -> None:
        write_labels(self._folder, labels)
        self._before = [*self._before, self._moment][-_UNDO_STEPS:]
        self._moment = Moment(labels, hints or {})


def _track(labels: Labels, track_id: int) -> LabelTrack:
    try:
        return labels.track(track_id)
    except KeyError:
        raise DatasetError(f'there is no track {track_id}') from None


def _with_track(labels: Labels, track: LabelTrack) -> Labels:
    """Return labels with a track instead of the one of the same id, or a new one."""
    others = {each.id: each for each in labels.tracks} | {track.id: track}
    kept = [each for each in others.values() if each.id == track.id or any(each.masks)]
    return replace(labels, tracks=tuple(kept))


def _with_masks(
    labels: Labels, track_id: int, masks: Mapping[int, Rle | None], are_carried: bool = False
) -> Labels:
    """Return labels with other masks of a track, by frame; without the track if none is left."""
    track = _track(labels, track_id)
    changed = replace(
        track, masks=tuple(masks.get(frame, each) for frame, each in enumerate(track.masks)),
        carried=track.carried - masks.keys() | {
            frame for frame, mask in masks.items() if mask and are_carried})
    tracks = _with_track(labels, changed).tracks
    return replace(labels, tracks=tuple(each for each in tracks if any(each.masks)))


def _with_class(labels: Labels, name: str) -> Labels:
    if not name.strip():
        raise DatasetError('name the class first, such as "pallet"')
    if name in {each.name for each in labels.categories}:
        return labels
    number = max((each.id for each in labels.categories), default=0) + 1
    return replace(labels, categories=(*labels.categories, Category(number, name)))


def _class_id(labels: Labels, name: str) -> int:
    return next(each.id for each in labels.categories if each.name == name)
