# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
How often is a chosen object that left found again, and another one taken for it?

python -m benchmark.reacquisition FOLDER ... --videos NAME ... [--model stmask_lite]
FOLDERs are as DAVIS has them, JPEGImages and Annotations beside each other; the annotation says
who is who. The annotated object is chosen and followed; then its track ends, and after a gap the
video goes on with new tracks for a second, by the rules of the node. "found" are the returns after
which it is taken up again rightly, "wrong" those after which something else is. "absent" are
seconds without it, of the same video with it cut out and of the others: "taken" is the share in
which something is taken for it. Pairs are single cosines, of the object as it was remembered with
its later detections, and with those of others of its class. Choose by some videos, measure on
others.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from stmask_ros.families.appearance import Appearance
from stmask_ros.masks import BoolArray, Float32Array
from stmask_ros.node.parameters import Parameters
from stmask_ros.tracking.results import FrameResult
from stmask_ros.tracking.segmenter import VideoSegmenter, load_segmenter
from stmask_ros.tracking.selection import (
    Reacquisition,
    SelectedObject,
    SelectionStatus,
    advanced,
    chosen,
)

THRESHOLDS = (0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
RATE = 24
STARTS = 8
FEWEST_HITS = 6
FIRST_NEW_ID = 10_000
INSIDE, OUTSIDE = 0.5, 0.1


@dataclass(frozen=True)
class Seen:
    """A frame's result; inside: share of each mask that is in the annotation [N]."""

    result: FrameResult
    appearance: Appearance
    inside: Float32Array

    def without_object(self) -> Seen:
        """Return what is not of the annotated object."""
        rows = np.flatnonzero(self.inside <= OUTSIDE).tolist()
        return Seen(self.result.rows(rows), self.appearance, self.inside[rows])

    def cosines(self, item: SelectedObject, wanted: BoolArray) -> list[float]:
        """Return those of an object with the detections of its class that are wanted, bool [N]."""
        same = wanted & (self.result.class_ids == item.last.class_ids[0])
        ids = self.result.track_ids[same & (self.result.missed == 0)].tolist()
        found = [self.appearance.of_track(number) for number in ids]
        return [float(each @ item.appearance) for each in found if each is not None]


@dataclass(frozen=True)
class Video:
    """What was seen of a video from its start, and again from some later frames on."""

    first: list[Seen]
    again: dict[int, list[Seen]]


@dataclass
class Counts:
    """By threshold: how many returns ended how, and how many seconds without the object."""

    same: list[float] = field(default_factory=list)
    other: list[float] = field(default_factory=list)
    returns: dict[float, list[bool | None]] = field(default_factory=lambda: defaultdict(list))
    absent: dict[float, list[bool]] = field(default_factory=lambda: defaultdict(list))


def seen(segmenter: VideoSegmenter, folder: Path, name: str, start: int, end: int) -> list[Seen]:
    """Return what is seen of these frames of a video; tracks begin afresh."""
    states = [replace(segmenter.initial_state(), next_id=FIRST_NEW_ID if start else 1)]
    frames = []
    for path in sorted((folder / 'JPEGImages' / name).glob('*.jpg'))[start:end]:
        picture = cv2.imread(str(path))
        truth = cv2.imread(str(folder / 'Annotations' / name / f'{path.stem}.png'), 0)
        assert picture is not None, path
        assert truth is not None, path
        (result,), states = segmenter.step([np.asarray(picture, np.uint8)], states)
        appearance = segmenter.appearance(states[0])
        assert appearance is not None, 'this family has no embeddings'
        masks = [mask.to_full(*truth.shape) for mask in result.masks]
        inside = [(mask & (truth > 0)).sum() / max(mask.sum(), 1) for mask in masks]
        frames.append(Seen(result, appearance, np.array(inside, np.float32)))
    return frames


def watched(segmenter: VideoSegmenter, folder: Path, name: str) -> Video:
    """Return what is seen of a video."""
    first = seen(segmenter, folder, name, 0, 10**6)
    starts = range(STARTS, len(first) - STARTS, STARTS)
    return Video(first, {
        start: seen(segmenter, folder, name, start, start + RATE) for start in starts})


def remembered(frames: Sequence[Seen]) -> Iterator[SelectedObject]:
    """Choose the parts of the annotated object in the last of the frames; their tracks end."""
    last = frames[-1]
    for row in np.flatnonzero((last.inside >= INSIDE) & (last.result.hits >= FEWEST_HITS)):
        track_id = int(last.result.track_ids[row])
        having = [each for each in frames if track_id in each.result.track_ids]
        items = [chosen(having[0].result, track_id, 0)]
        for each in having:
            items = advanced(items, each.result, each.appearance, 0, Reacquisition(1e9, 2.0))
        if items[0].appearance is not None:
            yield replace(items[0], ended=True, status=SelectionStatus.AWAY, newest_id=0)


def taken(item: SelectedObject, frames: Sequence[Seen], likeness: float) -> bool | None:
    """Return whether the first thing that is taken for an object is right; None for nothing."""
    for each in frames:
        (moved,) = advanced(
            [item], each.result, each.appearance, 0, Reacquisition(1e9, likeness))
        if moved.reacquired:
            (row,) = np.flatnonzero(each.result.track_ids == moved.track_id)
            return bool(each.inside[row] >= INSIDE)
    return None


def count(videos: Sequence[Video], gap: int) -> Counts:
    """Play all returns after a gap [frames], and seconds without the object."""
    counts = Counts()
    for video in videos:
        elsewhere = [other.first for other in videos if other is not video]
        for start, again in video.again.items():
            for item in remembered(video.first[:max(start - gap, 1)]):
                _count(counts, item, again, [
                    [each.without_object() for each in again], *(one[:RATE] for one in elsewhere)])
    return counts


def _count(
    counts: Counts, item: SelectedObject, again: Sequence[Seen], absent: Sequence[Sequence[Seen]]
) -> None:
    same = [one for each in again for one in each.cosines(item, each.inside >= INSIDE)]
    counts.same += same
    for frames in absent:
        counts.other += [
            one for each in frames for one in each.cosines(item, np.ones(len(each.result), bool))]
    for threshold in THRESHOLDS:
        if same:
            counts.returns[threshold].append(taken(item, again, threshold))
        counts.absent[threshold] += [
            taken(item, frames, threshold) is not None for frames in absent]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[1])
    parser.add_argument('folders', nargs='+', type=Path)
    parser.add_argument('--videos', nargs='+', required=True)
    parser.add_argument('--model', default='stmask_lite')
    parser.add_argument('--gaps', nargs='+', type=float, default=(0.5, 1.0, 1.5), help='[s]')
    options = parser.parse_args()
    segmenter = load_segmenter(options.model)
    segmenter.tracker = segmenter.tracker_options(Parameters().tracker(segmenter.class_names))
    videos = [
        watched(segmenter, folder, name) for folder in options.folders for name in options.videos
        if (folder / 'JPEGImages' / name).is_dir()]
    for gap in options.gaps:
        counts = count(videos, round(gap * RATE))
        print(f'gap {gap} s: pairs of one object {len(counts.same)}, of two {len(counts.other)}; '
              f'returns {len(counts.returns[0.9])}, absent {len(counts.absent[0.9])}\n'
              ' at least   pairs: one    two   found  wrong  taken')
        for threshold in THRESHOLDS if counts.same and counts.other else ():
            ended, absent = counts.returns[threshold], counts.absent[threshold]
            print(f'{threshold:9.2f} {np.mean(np.array(counts.same) >= threshold):12.3f} '
                  f'{np.mean(np.array(counts.other) >= threshold):6.4f} '
                  f'{np.mean([each is True for each in ended]):7.2f} '
                  f'{np.mean([each is False for each in ended]):6.2f} {np.mean(absent):6.2f}')


if __name__ == '__main__':
    main()
