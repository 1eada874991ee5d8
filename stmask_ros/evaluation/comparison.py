# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Two models over the same images of a bag, turn by turn, and what differs in what they say."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from stmask_ros.bags.files import BagMessage
from stmask_ros.evaluation.bag_runs import FrameMatcher
from stmask_ros.evaluation.dataset import DatasetError, Video
from stmask_ros.evaluation.report_page import Latency
from stmask_ros.evaluation.scores import Table
from stmask_ros.evaluation.track_collection import TrackCollector, observations_of_result
from stmask_ros.tracking.replay import Replay, ReplayedImage, stamp_of
from stmask_ros.tracking.results import FrameResult, TrackStatus
from stmask_ros.tracking.segmenter import VideoSegmenter

# Images at the start of which the time does not count: memory is taken, caches are filled.
WARM_UP = 3
# Two boxes of one class that overlap by this much, in IoU, say the same.
SAME = 0.5


@dataclass
class ModelRun:
    """
    What a model says of the images of a bag.

    results: by the image's place in the topic. seconds: of each image, from message to tracks.
    """

    class_names: Sequence[str]
    results: dict[int, FrameResult] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)

    def add(self, image: ReplayedImage) -> None:
        """Take what became of an image."""
        if image.result is not None:
            self.results[image.position] = image.result
            self.seconds.append(image.seconds)

    def latency(self, meaning: str) -> list[Latency]:
        """Return the time of the images after the first few, if there are any."""
        return [Latency(meaning, self.seconds[WARM_UP:])] if self.seconds[WARM_UP:] else []

    def collected(self, video: Video, stamps: dict[int, int]) -> TrackCollector:
        """
        Return the tracks as the frames of an annotated video have them.

        stamps: of the images [ns], by place. Raises DatasetError if the images are of another
        size than the video.
        """
        matcher, collector = FrameMatcher(video), TrackCollector(video)
        for position, result in self.results.items():
            if (result.image_height, result.image_width) != (video.height, video.width):
                raise DatasetError(
                    f'the images of the bag are {result.image_width}x{result.image_height}, but '
                    f'the annotations are for {video.width}x{video.height}')
            frame = matcher.frame_of(position, stamps[position])
            if frame is not None:
                collector.add(frame, observations_of_result(result))
        return collector


@dataclass(frozen=True)
class Comparison:
    """Two runs over the same images; stamps: of all images [ns], by their place in the topic."""

    before: ModelRun
    after: ModelRun
    stamps: dict[int, int]

    def identity_table(self) -> Table:
        """Return, by class, how many numbers each model gave away and how long they lasted."""
        columns = [_tracks_by_class(run) for run in (self.before, self.after)]
        names = sorted({name for column in columns for name in column})
        rows = [(name, *(cell for column in columns for cell in _lengths(column[name])))
                for name in names]
        total = [[length for values in column.values() for length in values]
                 for column in columns]
        return Table(
            ('identities', 'before', 'median length', 'after', 'median length'),
            [*rows, ('all classes', *(cell for values in total for cell in _lengths(values)))],
        )

    def change_table(self) -> Table:
        """Return how often a number changed its class, and how many images it took."""
        return Table(('in the whole bag', 'before', 'after'), [
            ('images answered', *(str(len(run.results)) for run in self._runs)),
            ('instances in an image', *(f'{_mean_instances(run):.2f}' for run in self._runs)),
            ('changes of class within a number', *map(str, map(_class_changes, self._runs))),
        ])

    def most_different(self, count: int, apart: int) -> list[int]:
        """Return places of images of which the two say most different things, in order."""
        both = set(self.before.results) & set(self.after.results)
        differences = {place: self.difference(place) for place in sorted(both)}
        different = [place for place in differences if differences[place] > 0]
        ranked = sorted(different, key=lambda place: -differences[place])
        chosen: list[int] = []
        for place in ranked:
            if len(chosen) < count and all(abs(place - other) >= apart for other in chosen):
                chosen.append(place)
        return sorted(chosen)

    def difference(self, place: int) -> float:
        """Return the share of instances of an image that only one of the two sees [0, 1]."""
        one, other = (_instances(run, place) for run in self._runs)
        same = sum(any(_alike(a, b) for b in other) for a in one)
        most = max(len(one), len(other))
        return 1 - same / most if most else 0.0

    @property
    def _runs(self) -> tuple[ModelRun, ModelRun]:
        return self.before, self.after


def compare(
    segmenters: tuple[VideoSegmenter, VideoSegmenter], images: Iterable[BagMessage],
    max_gap: float, done: Callable[[], object],
) -> Comparison:
    """
    Run both over each image; done: called after each.

    Which is first changes from image to image, so that neither profits from the other's caches.
    """
    runs = tuple(ModelRun(segmenter.class_names) for segmenter in segmenters)
    replays = tuple(Replay(segmenter, max_gap) for segmenter in segmenters)
    comparison = Comparison(runs[0], runs[1], {})
    for place, message in enumerate(images):
        comparison.stamps[place] = stamp_of(message.content)
        for turn in ((0, 1), (1, 0))[place % 2]:
            runs[turn].add(replays[turn].answer(place, message))
        done()
    return comparison


def _tracks_by_class(run: ModelRun) -> defaultdict[str, list[int]]:
    """Return the lengths [frames] of all tracks, by the class that they had most."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for names in _names_of_tracks(run).values():
        found[Counter(names).most_common(1)[0][0]].append(len(names))
    return found


def _names_of_tracks(run: ModelRun) -> dict[tuple[int, int], list[str]]:
    """Return the class names that each track has had, by epoch and number."""
    names: defaultdict[tuple[int, int], list[str]] = defaultdict(list)
    for result in run.results.values():
        for row in _rows(result):
            key = (result.epoch, int(result.track_ids[row]))
            names[key].append(run.class_names[int(result.class_ids[row]) - 1])
    return names


def _rows(result: FrameResult) -> list[int]:
    return np.flatnonzero(result.statuses != int(TrackStatus.TERMINATED)).tolist()


def _lengths(values: Sequence[int]) -> tuple[str, str]:
    return str(len(values)), f'{np.median(values):.0f}' if values else '-'


def _mean_instances(run: ModelRun) -> float:
    counts = [len(_rows(result)) for result in run.results.values()]
    return float(np.mean(counts)) if counts else 0.0


def _class_changes(run: ModelRun) -> int:
    return sum(
        sum(one != other for one, other in pairwise(names))
        for names in _names_of_tracks(run).values()
    )


def _instances(run: ModelRun, place: int) -> list[tuple[str, list[float]]]:
    result = run.results[place]
    return [
        (run.class_names[int(result.class_ids[row]) - 1], result.boxes[row].tolist())
        for row in _rows(result)
    ]


def _alike(one: tuple[str, list[float]], other: tuple[str, list[float]]) -> bool:
    (a, b, c, d), (e, f, g, h) = one[1], other[1]
    inside = max(min(c, g) - max(a, e), 0) * max(min(d, h) - max(b, f), 0)
    union = (c - a) * (d - b) + (g - e) * (h - f) - inside
    return one[0] == other[0] and inside >= SAME * union
