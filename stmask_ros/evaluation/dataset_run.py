# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The online segmenter over a data set, video by video, alone or as one of several workers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from stmask_ros.evaluation.annotations import read_frame
from stmask_ros.evaluation.dataset import DatasetError, Video
from stmask_ros.evaluation.run_folder import RunFolder, VideoOutcome
from stmask_ros.evaluation.track_collection import (
    TrackCollector,
    observations_of_result,
    tracks_of_instances,
)
from stmask_ros.families.frames import Image
from stmask_ros.fingerprint import Fingerprint, versions
from stmask_ros.models.checkpoint import model_fingerprint
from stmask_ros.tracking.segmenter import VideoSegmenter


@dataclass(frozen=True)
class Worker:
    """One of `count` processes, numbered by `rank` from 0; local_rank: among those of its host."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @classmethod
    def from_environment(cls) -> Worker:
        """Return the worker that torchrun has started this process as; DatasetError if broken."""
        names = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK')
        try:
            rank, count, local_rank = (
                int(os.environ.get(name, default))
                for name, default in zip(names, '010', strict=True)
            )
        except ValueError as error:
            raise DatasetError(f'{", ".join(names)}: expected whole numbers: {error}') from error
        if not 0 <= rank < count:
            raise DatasetError(f'RANK is {rank}, expected 0 to WORLD_SIZE - 1 = {count - 1}')
        return cls(rank, count, local_rank)

    def share(self, videos: Iterable[Video]) -> list[Video]:
        """Return the videos that this worker does: every count-th."""
        return list(videos)[self.rank::self.count]


def segmenter_fingerprint(segmenter: VideoSegmenter) -> Fingerprint:
    """Return what the results of a segmenter depend on, beside the frames."""
    device = segmenter.device.type
    tracker: Any = segmenter.tracker
    threads = {'torch_threads': torch.get_num_threads()} if device == 'cpu' else {}
    return {
        'model': model_fingerprint(segmenter.model_description, segmenter.model_sha256),
        'device': device, 'precision': segmenter.precision,
        'engine': segmenter.engine, **threads,
        'tracker': asdict(tracker),
        'versions': versions(),
    }


class DatasetRun:
    """Runs a segmenter over videos, each from a fresh state, and keeps what it finds."""

    def __init__(
        self,
        segmenter: VideoSegmenter,
        folder: RunFolder,
        category_of_class: Mapping[int, int],
        whole_videos: bool = False,
    ) -> None:
        """
        Prepare.

        folder: of the run and its frames. category_of_class: see TrackCollector.tracks().
        whole_videos: give each to the network at once, see VideoSegmenter.whole_video(), instead
        of frame by frame.
        """
        self._segmenter = segmenter
        self._folder = folder
        self._category_of_class = category_of_class
        self._whole_videos = whole_videos

    def run(self, videos: Iterable[Video], show_progress: bool) -> None:
        """Run all videos that are not finished; DatasetError if a frame is missing or broken."""
        waiting = [video for video in videos if not self._folder.has(video)]
        with _progress(show_progress) as progress:
            task = progress.add_task('frames', total=sum(video.length for video in waiting))
            for video in waiting:
                progress.update(task, description=video.name)
                frames = self._folder.frames(video)
                outcome = self.run_video(video, lambda: progress.advance(task))
                self._folder.save(outcome, frames)

    def run_video(self, video: Video, frame_done: Callable[[], None]) -> VideoOutcome:
        """Run one video, without keeping it."""
        if self._whole_videos:
            return self._run_whole(video, frame_done)
        collector = TrackCollector(video)
        state = self._segmenter.initial_state(1)
        seconds = []
        for frame, file_name in enumerate(video.file_names):
            image = self._frame(video, file_name)
            start = time.perf_counter()
            results, (state,) = self._segmenter.step([image], [state])
            seconds.append(time.perf_counter() - start)
            collector.add(frame, observations_of_result(results[0]))
            frame_done()
        return VideoOutcome(video.id, collector.tracks(self._category_of_class), seconds)

    def _run_whole(self, video: Video, frame_done: Callable[[], None]) -> VideoOutcome:
        images = [self._frame(video, file_name) for file_name in video.file_names]
        start = time.perf_counter()
        instances = self._segmenter.whole_video(images)
        seconds = [(time.perf_counter() - start) / len(images)] * len(images)
        for _ in images:
            frame_done()
        tracks = tracks_of_instances(video, instances, self._category_of_class)
        return VideoOutcome(video.id, tracks, seconds)

    def _frame(self, video: Video, file_name: str) -> Image:
        return read_frame(self._folder.images, file_name, (video.height, video.width))


def _progress(shown: bool) -> Progress:
    return Progress(
        TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TextColumn('frames'),
        TimeElapsedColumn(), TextColumn('left:'), TimeRemainingColumn(), disable=not shown,
    )
