# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The chosen objects of one camera: chosen by requests, carried on from image to image."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from stmask_ros.families.appearance import Appearance
from stmask_ros.msg import ObjectReference
from stmask_ros.tracking.pointing import (
    AmbiguousError,
    Meant,
    NothingThereError,
    Place,
    PointingError,
    instance_at,
)
from stmask_ros.tracking.recent_results import NoSuchImageError, OtherEpochError, RecentResults
from stmask_ros.tracking.results import FrameResult
from stmask_ros.tracking.selection import (
    Reacquisition,
    SelectedObject,
    SelectionStatus,
    advanced,
    chosen,
)

_NANOSECONDS = 1_000_000_000

# Chosen objects of a camera at a time.
MOST_OBJECTS = 16


class Outcome(IntEnum):
    """Values of Track.Response.outcome."""

    CHOSEN = 0
    INVALID = 1
    NOT_ACTIVE = 2
    NO_SUCH_IMAGE = 3
    OTHER_EPOCH = 4
    NOTHING_THERE = 5
    AMBIGUOUS = 6
    ENDED = 7
    TOO_MANY = 8


_OUTCOMES: tuple[tuple[type[Exception], Outcome], ...] = (
    (NoSuchImageError, Outcome.NO_SUCH_IMAGE),
    (OtherEpochError, Outcome.OTHER_EPOCH),
    (NothingThereError, Outcome.NOTHING_THERE),
    (AmbiguousError, Outcome.AMBIGUOUS),
    (PointingError, Outcome.INVALID),
)


@dataclass(frozen=True)
class Reference:
    """
    Which object is meant, see ObjectReference.msg.

    stamp: of the image [ns], 0 for the newest. epoch: 0 for the present one. track_id: 0 for the
    one at the place. place: raises PointingError where it is none, and is called without an id.
    """

    stamp: int
    epoch: int
    track_id: int
    place: Callable[[], Place]


def reference_of(message: ObjectReference) -> Reference:
    """Return what a request refers to."""
    stamp = message.stamp.sec * _NANOSECONDS + message.stamp.nanosec
    return Reference(
        stamp, message.epoch, message.track_id,
        lambda: Place(message.x, message.y, message.width, message.height),
    )


@dataclass(frozen=True)
class Choice:
    """What became of a request. message: for people. The rest is 0 if nothing was chosen."""

    outcome: Outcome
    message: str
    track_id: int = 0
    epoch: int = 0
    confidence: float = 0.0
    was_chosen: bool = False


@dataclass(frozen=True)
class SelectionCounts:
    """
    What became of all objects that were chosen; chosen = now + lost + released.

    now: followed or away. away: of these, not seen. lost: given up, or left in an older epoch.
    released: by requests and when the node was deactivated. reacquired: times one was found again.
    refused: requests that chose nothing.
    """

    chosen: int = 0
    now: int = 0
    away: int = 0
    lost: int = 0
    released: int = 0
    reacquired: int = 0
    refused: int = 0


class Selection:
    """What requests and the worker share; any thread may call it."""

    def __init__(self) -> None:
        """Start without images, not active."""
        self._lock = threading.Lock()
        self._recent = RecentResults()
        self._objects: list[SelectedObject] = []
        self._active = False
        self._epoch = 0
        self._now = 0
        self._counts = SelectionCounts()

    @property
    def has_objects(self) -> bool:
        """Whether some are chosen."""
        return bool(self._objects)

    def begin(self) -> None:
        """Take requests from now on."""
        with self._lock:
            self._active = True

    def end(self) -> None:
        """Forget images and objects, and refuse requests."""
        with self._lock:
            self._active = False
            self._recent.clear()
            self._release(self._objects)

    def remember(self, stamp: int, received_ns: int, result: FrameResult) -> None:
        """
        Take the result of an image, before anybody can refer to it.

        stamp: of the image [ns], 0 if it has none; then received_ns [ns] stands for its time.
        """
        with self._lock:
            self._now = stamp or received_ns
            if self._active:
                self._recent.add(stamp, result)

    def choose(self, reference: Reference) -> Choice:
        """Choose the object that is meant, or say why not."""
        with self._lock:
            choice = self._choose(reference)
            if choice.outcome is not Outcome.CHOSEN:
                self._count(refused=1)
            return choice

    def release(self, selected_id: int) -> list[int]:
        """Choose an object no longer, or none with 0; return the ids of those that were."""
        with self._lock:
            released = [
                item for item in self._objects if selected_id in (0, item.selected_id)
            ]
            self._release(released)
            return [item.selected_id for item in released]

    def advance(
        self, result: FrameResult, appearance: Callable[[], Appearance | None],
        rules: Reacquisition,
    ) -> list[SelectedObject]:
        """
        Carry the objects on by the result that was remembered last; LOST ones for the last time.

        appearance: called only if there are objects.
        """
        with self._lock:
            if not self._objects:
                return []
            if result.epoch != self._epoch:
                moved = [replace(item, status=SelectionStatus.LOST) for item in self._objects]
            else:
                moved = advanced(self._objects, result, appearance(), self._now, rules)
            self._count(
                lost=sum(item.status is SelectionStatus.LOST for item in moved),
                reacquired=sum(item.reacquired for item in moved)
                - sum(item.reacquired for item in self._objects),
            )
            self._objects = [item for item in moved if item.status is not SelectionStatus.LOST]
            return moved

    def counts(self) -> SelectionCounts:
        """Return a consistent snapshot."""
        with self._lock:
            away = sum(item.status is SelectionStatus.AWAY for item in self._objects)
            return replace(self._counts, now=len(self._objects), away=away)

    def _choose(self, reference: Reference) -> Choice:
        if not self._active:
            return Choice(Outcome.NOT_ACTIVE, 'not active: no images are answered')
        try:
            result = self._recent.find(reference.stamp, reference.epoch)
            meant = _meant(result, reference)
        except (LookupError, PointingError) as error:
            outcome = next(its for kind, its in _OUTCOMES if isinstance(error, kind))
            return Choice(outcome, str(error))
        known = [item for item in self._objects if item.track_id == meant.track_id]
        if known:
            return _chosen(known[0], result.epoch, meant, was_chosen=True)
        if self._recent.has_ended(meant.track_id):
            return Choice(Outcome.ENDED, f'track {meant.track_id} has ended since')
        if len(self._objects) >= MOST_OBJECTS:
            return Choice(Outcome.TOO_MANY, (
                f'{MOST_OBJECTS} objects are chosen already: release one with ~/untrack'
            ))
        return self._add(result.epoch, meant)

    def _add(self, epoch: int, meant: Meant) -> Choice:
        last = self._recent.last_with(meant.track_id)
        assert last is not None
        item = chosen(last, meant.track_id, self._now)
        if any(other.selected_id == item.selected_id for other in self._objects):
            return Choice(Outcome.AMBIGUOUS, (
                f'an object was chosen as {item.selected_id} and is followed under another track '
                'id since: release it first with ~/untrack'
            ))
        self._objects.append(item)
        self._epoch = epoch
        self._count(chosen=1)
        return _chosen(item, epoch, meant, was_chosen=False)

    def _release(self, items: Sequence[SelectedObject]) -> None:
        ids = [item.selected_id for item in items]
        self._objects = [item for item in self._objects if item.selected_id not in ids]
        self._count(released=len(ids))

    def _count(self, **more: int) -> None:
        self._counts = replace(self._counts, **{
            name: getattr(self._counts, name) + number for name, number in more.items()
        })


def _meant(result: FrameResult, reference: Reference) -> Meant:
    if not reference.track_id:
        return instance_at(result, reference.place())
    if reference.track_id not in result.track_ids:
        raise NothingThereError(
            f'no track {reference.track_id} in this image; there are '
            f'{result.track_ids.tolist() or "none"}'
        )
    return Meant(reference.track_id, 1.0)


def _chosen(item: SelectedObject, epoch: int, meant: Meant, was_chosen: bool) -> Choice:
    told = 'was chosen already' if was_chosen else 'is chosen'
    return Choice(
        Outcome.CHOSEN, f'object {item.selected_id} of epoch {epoch} {told}', item.selected_id,
        epoch, meant.confidence, was_chosen,
    )
