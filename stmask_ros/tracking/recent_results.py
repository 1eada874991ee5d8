# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The results that a camera was answered with lately, for requests that refer to an image."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from stmask_ros.tracking.results import FrameResult, TrackStatus

# Bounds on what is remembered of a camera: images, and bytes of their masks.
MOST_IMAGES = 100
MOST_BYTES = 16 * 2**20


class NoSuchImageError(LookupError):
    """No image of this stamp is remembered."""


class OtherEpochError(LookupError):
    """The image belongs to another epoch than was said, or another one has begun since."""


@dataclass(frozen=True)
class _Answered:
    stamp: int
    size: int
    result: FrameResult


class RecentResults:
    """At most MOST_IMAGES results, and at most MOST_BYTES of masks beside the newest one's."""

    def __init__(self) -> None:
        """Start with none."""
        self._answered: deque[_Answered] = deque(maxlen=MOST_IMAGES)
        self._size = 0

    def add(self, stamp: int, result: FrameResult) -> None:
        """Remember a result; stamp: of its image [ns], 0 if it has none."""
        if len(self._answered) == MOST_IMAGES:
            self._forget_oldest()
        size = sum(mask.pixels.nbytes for mask in result.masks)
        self._answered.append(_Answered(stamp, size, result))
        self._size += size
        while self._size > MOST_BYTES and len(self._answered) > 1:
            self._forget_oldest()

    def clear(self) -> None:
        """Forget all."""
        self._answered.clear()
        self._size = 0

    @property
    def newest(self) -> FrameResult | None:
        """The result that was added last."""
        return self._answered[-1].result if self._answered else None

    def find(self, stamp: int, epoch: int) -> FrameResult:
        """
        Return the result of an image of the present epoch.

        stamp: of the image [ns]; 0 for the newest. epoch: that it is said to belong to; 0 for the
        present one. Raises NoSuchImageError or OtherEpochError.
        """
        if self.newest is None:
            raise NoSuchImageError('no image was answered yet')
        named = [its.result for its in self._answered if its.stamp == stamp or not stamp]
        if not named:
            raise NoSuchImageError(
                f'no image with stamp {stamp} ns among the last {len(self._answered)} that were '
                'answered: take the stamp of a recent TrackedInstanceArray, or 0 for the newest'
            )
        present = self.newest.epoch
        if epoch not in (0, present) or named[-1].epoch != present:
            raise OtherEpochError(
                f'the image belongs to epoch {epoch or named[-1].epoch}, and now it is epoch '
                f'{present}, in which track ids mean other objects'
            )
        return named[-1]

    def has_ended(self, track_id: int) -> bool:
        """Say whether a track of the present epoch was given up lately."""
        assert self.newest is not None
        return any(
            bool(np.any((its.result.track_ids == track_id)
                        & (its.result.statuses == TrackStatus.TERMINATED)))
            for its in self._answered if its.result.epoch == self.newest.epoch
        )

    def last_with(self, track_id: int) -> FrameResult | None:
        """Return the newest result of the present epoch that shows a track."""
        assert self.newest is not None
        return next((
            its.result for its in reversed(self._answered)
            if its.result.epoch == self.newest.epoch and track_id in its.result.track_ids
        ), None)

    def _forget_oldest(self) -> None:
        self._size -= self._answered.popleft().size
