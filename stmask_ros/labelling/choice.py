# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Which frames of a recording are worth labelling, and why: sharp, different, doubtful."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy.ndimage import median_filter

from stmask_ros.masks import Float32Array
from stmask_ros.tracking.results import FrameResult, TrackStatus

Bgr = npt.NDArray[np.uint8]

# Width and height of the small pictures that are compared [pixel], and of those whose sharpness is
# measured.
_THUMBNAIL = (16, 9)
_SHARPNESS_WIDTH = 320
# Frames around one that tell how sharp it could be, and which part of their median is too little.
_AROUND, _BLURRED = 31, 0.5
# Root mean square of the difference of small pictures in levels of 255 that nobody sees.
_ALIKE = 1.5
# What doubt and a change of tracks are worth, where being different is worth up to 1.
_OF_DOUBT, _OF_CHANGE = 0.5, 0.5
_DOUBTFUL = 0.75
# Frames between a track that was lost and one in its place, and how much of both overlaps.
_SHORTLY, _SAME_PLACE = 10, 0.5


@dataclass(frozen=True)
class Observation:
    """
    What is known of a frame.

    position: in the topic. sharpness: variance of the Laplacian, higher is sharper. thumbnail:
    float32 [3 * 9 * 16], levels of Lab. doubt: of the model, 0 to 1: mean of 4 s (1 - s) over the
    scores s of its tracks. changes: tracks that began, ended, were lost for a while or changed
    their number.
    """

    position: int
    sharpness: float
    thumbnail: Float32Array
    doubt: float
    changes: tuple[str, ...]


@dataclass(frozen=True)
class Choice:
    """A frame that was chosen, by its position, and why."""

    position: int
    reason: str


def observed(position: int, picture: Bgr, result: FrameResult, changes: Changes) -> Observation:
    """Return what is known of a frame, given the tracks of those before."""
    scores = result.scores
    doubt = float(np.mean(4 * scores * (1 - scores))) if len(scores) else 0.0
    thumbnail = cv2.resize(picture, _THUMBNAIL, interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(thumbnail, cv2.COLOR_BGR2LAB)
    return Observation(
        position, sharpness(picture), lab.astype(np.float32).ravel(), doubt,
        tuple(changes.told(result)))


def sharpness(picture: Bgr) -> float:
    """Return the variance of the Laplacian of a picture, uint8 BGR [H, W, 3], 320 pixels wide."""
    height = max(1, round(picture.shape[0] * _SHARPNESS_WIDTH / picture.shape[1]))
    small = cv2.resize(picture, (_SHARPNESS_WIDTH, height), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_32F).var())


class Changes:
    """Tells which tracks begin, are lost, come back, end, or take the place of another."""

    def __init__(self) -> None:
        self._epoch = 0
        self._shown: dict[int, Float32Array] = {}
        self._lost: dict[int, tuple[int, Float32Array]] = {}

    def told(self, result: FrameResult) -> Iterator[str]:
        """Yield what changed from the last frame to this one."""
        if result.epoch != self._epoch:
            self._epoch, self._shown, self._lost = result.epoch, {}, {}
        alive = result.statuses == TrackStatus.CONFIRMED
        shown = dict(zip(result.track_ids[alive].tolist(), result.boxes[alive], strict=True))
        coasting, ended = (
            set(result.track_ids[result.statuses == status].tolist())
            for status in (TrackStatus.COASTING, TrackStatus.TERMINATED))
        for number in self._shown.keys() - shown.keys() - coasting:
            self._lost[number] = (result.sequence, self._shown[number])
            yield f'track {number} ended' if number in ended else f'track {number} is lost'
        for number in shown.keys() - self._shown.keys():
            if self._lost.pop(number, None) is not None:
                yield f'track {number} came back'
                continue
            before = self._predecessor(shown[number], result.sequence)
            yield f'track {number} began' if before is None else (
                f'track {before} became {number}')
        kept = {n: box for n, box in self._shown.items() if n in coasting}
        self._shown = kept | shown

    def _predecessor(self, box: Float32Array, sequence: int) -> int | None:
        for number, (since, other) in self._lost.items():
            if sequence - since <= _SHORTLY and _overlap(box, other) > _SAME_PLACE:
                return number
        return None


def _overlap(first: Float32Array, second: Float32Array) -> float:
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    common = sides.clip(0).prod()
    areas = (first[2:] - first[:2]).prod() + (second[2:] - second[:2]).prod()
    return float(common / max(areas - common, 1e-6))


def choose(frames: Sequence[Observation], every: int = 1, most: int = 30) -> list[Choice]:
    """
    Return the frames worth labelling, in order.

    every: of so many frames in a row the sharpest is looked at. most: so many are chosen, each
    time the one that is farthest from all chosen before, that the model doubts and where tracks
    change. Blurred frames, and those that look as one that is chosen, are left out.
    """
    candidates = _sharp(frames, every)
    if not candidates:
        return []
    thumbnails = np.stack([frame.thumbnail for frame in candidates])
    worth = _OF_DOUBT * np.array([frame.doubt for frame in candidates])
    worth += _OF_CHANGE * np.array([bool(frame.changes) for frame in candidates])
    spread = max(float(_distances(thumbnails, thumbnails.mean(0)).max()), _ALIKE)
    nearest = np.full(len(candidates), 2 * spread)
    chosen: list[int] = []
    while len(chosen) < most:
        gains = np.where(nearest > _ALIKE, nearest / spread + worth, -1)
        best = int(gains.argmax())
        if gains[best] < 0:
            break
        chosen.append(best)
        nearest = np.minimum(nearest, _distances(thumbnails, thumbnails[best]))
        nearest[best] = 0
    return [Choice(candidates[i].position, _reason(candidates[i])) for i in sorted(chosen)]


def _sharp(frames: Sequence[Observation], every: int) -> list[Observation]:
    """Return the sharpest of each so many frames, without those that are blurred."""
    values = np.array([frame.sharpness for frame in frames])
    if not len(values):
        return []
    usual = median_filter(values, min(_AROUND, len(values)), mode='nearest')
    groups = [range(start, min(start + every, len(frames)))
              for start in range(0, len(frames), every)]
    best = [max(group, key=values.__getitem__) for group in groups]
    kept = [i for i in best if values[i] >= _BLURRED * usual[i]]
    return [frames[i] for i in kept]


def _distances(thumbnails: Float32Array, one: Float32Array) -> npt.NDArray[np.float64]:
    squares: npt.NDArray[np.float64] = np.mean((thumbnails - one) ** 2, axis=1, dtype=np.float64)
    return np.sqrt(squares)


def _reason(frame: Observation) -> str:
    doubt = [f'unsure ({frame.doubt:.2f})'] if frame.doubt >= _DOUBTFUL else []
    return ', '.join([*frame.changes[:2], *doubt]) or 'different'
