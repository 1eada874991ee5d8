# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A folder that is being labelled: every change is on the disk before it is answered."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain, repeat
from pathlib import Path
from typing import Protocol

from stmask_ros import output_files
from stmask_ros.evaluation.dataset import DatasetError
from stmask_ros.evaluation.rle import Rle
from stmask_ros.labelling.carries import (
    Carry,
    coming_to,
    end_of_carry,
    first_carry,
    with_carried,
    with_carry,
    without_carries,
)
from stmask_ros.labelling.changes import class_id, track_of, with_class, with_masks, with_track
from stmask_ros.labelling.exchange import Picture, Pictures, check_overlaps, masks_at
from stmask_ros.labelling.folder import (
    ANNOTATIONS,
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

    def with_carried(
        self, track_id: int, frame: int, before: Rle, mask: Rle | None
    ) -> Moment:
        """Return this moment with a mask that was carried to a frame; see carries."""
        labels = with_carried(self.labels, track_id, frame, before, mask)
        return self if labels is self.labels else replace(self, labels=labels)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep others from labelling the same folder; OutputError if somebody does."""
    with output_files.locked(folder, f'{folder} is being labelled already, or written to'):
        output_files.remove_parts(folder / ANNOTATIONS)
        yield


class Editor:
    """
    The labels of a folder and what is done to them.

    Every method by which a person changes them writes annotations.json, whole, before it returns.
    Pictures are numbered as Pictures numbers them. All raise DatasetError for what does not exist.

    A mask that a person made is to be carried on through the pictures that follow, in place of
    masks that were carried there before, up to one that the person finished, or that has another
    mask. A thread may do that, by next_carry() and carry_on(); the file says what is still to be
    done, and has the mask of the next picture at once, the others at the end of the carry.

    turn: is to be held while any other method is called.
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
        self._is_closed = False
        self.turn = threading.Condition()
        self.trouble = ''

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
        return (picture.frame in track_of(self.labels, track_id).carried
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
        frame = self.picture(number).frame
        if end_of_carry(self.labels, track_id, frame) == frame + 1:
            raise DatasetError('the next picture is done, or has a mask that was not carried')
        self._save(with_carry(self.labels, track_id, frame))
        return following

    def remove(self, number: int, track_id: int) -> None:
        """Take a track out of a picture, and the masks that were carried on from there."""
        frame = self.picture(number).frame
        frames = range(frame, end_of_carry(self.labels, track_id, frame))
        labels = without_carries(self.labels, track_id, frames)
        self._save(with_masks(labels, track_id, dict.fromkeys(frames)))

    def rename(self, track_id: int, name: str) -> None:
        """Give a track another class, which may be new."""
        labels = with_class(self.labels, name)
        track = replace(track_of(labels, track_id), category_id=class_id(labels, name))
        self._save(with_track(labels, track))

    def mark(self, number: int, is_labelled: bool) -> None:
        """Say whether a person has finished a picture, in which no two tracks are one thing."""
        picture = self.picture(number)
        if is_labelled:
            check_overlaps(self.labels, self.pictures, [number])
            self._check_all_are_there(picture)
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
        self.turn.notify_all()

    def next_carry(self) -> Carry | None:
        """Wait for a mask that is to be carried on, and return it; None when this is closed."""
        with self.turn:
            self.turn.wait_for(lambda: self._is_closed or first_carry(self.labels))
            return None if self._is_closed else first_carry(self.labels)

    def carry_on(self, carry: Carry) -> None:
        """Carry a mask on, until a person did something instead."""
        pictures = [each for each in self.pictures if each.video_id == carry.video_id][
            carry.frame:carry.end]
        masks = self._proposer.carried(decoded(carry.mask), pictures)
        before: Rle | None = carry.mask
        for picture, mask in zip(
                pictures[1:], chain(map(encoded, masks), repeat(None)), strict=False):
            with self.turn:
                if before is None or not self._place(carry, picture, before, mask):
                    return
            before = mask

    def give_up(self, carry: Carry, trouble: str) -> None:
        """Carry a mask no farther, for a reason; not on the disk: the next start tries again."""
        with self.turn:
            self.trouble = f'track {carry.track_id} was not carried on: {trouble}'
            if any(track.id == carry.track_id for track in self.labels.tracks):
                self._moment = replace(self._moment, labels=without_carries(
                    self.labels, carry.track_id, range(carry.frame, carry.end)))

    def close(self) -> None:
        """Carry nothing any more."""
        with self.turn:
            self._is_closed = True
            self.turn.notify_all()

    def _place(self, carry: Carry, picture: Picture, before: Rle, mask: Rle | None) -> bool:
        """Take a mask that was carried to a picture; return False if it is not wanted any more."""
        moment, *past = (
            each.with_carried(carry.track_id, picture.frame, before, mask)
            for each in (self._moment, *self._before))
        if self._is_closed or moment is self._moment:
            return False
        goes_on = picture.frame in track_of(moment.labels, carry.track_id).carrying
        if picture.frame == carry.frame + 1 or not goes_on:
            write_labels(self._folder, moment.labels)
        self._moment, self._before = moment, past
        return True

    def _check_all_are_there(self, picture: Picture) -> None:
        for track in self.labels.tracks_of(picture.video_id):
            if picture.frame in coming_to(track):
                raise DatasetError(
                    f'track {track.id} is still on its way to this picture: look at it when it '
                    'is there')

    def _hints(self, number: int, track_id: int | None) -> Hints:
        """Return what was said of a track, or the mask that it came with."""
        picture = self.picture(number)
        if track_id is None:
            return Hints()
        track_of(self.labels, track_id)
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
            labels = with_class(labels, name)
            track_id = max((track.id for track in labels.tracks), default=0) + 1
            length = len(next(v for v in labels.videos if v.id == picture.video_id).frames)
            track = LabelTrack(
                track_id, picture.video_id, class_id(labels, name), (None,) * length)
            labels = with_track(labels, track)
        elif track_of(labels, track_id).video_id != picture.video_id:
            raise DatasetError(f'track {track_id} is in another video: begin a new one')
        labels = with_masks(labels, track_id, {picture.frame: mask})
        self._save(
            with_carry(labels, track_id, picture.frame),
            {**self._moment.hints, (number, track_id): hints})
        return track_id

    def _save(
        self, labels: Labels, hints: Mapping[tuple[int, int], Hints] | None = None
    ) -> None:
        write_labels(self._folder, labels)
        self._before = [*self._before, self._moment][-_UNDO_STEPS:]
        self._moment = Moment(labels, hints or {})
        self.trouble = ''
        self.turn.notify_all()
