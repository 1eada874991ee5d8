# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The command that runs a model over a data set: `stmask eval dataset`."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from stmask_ros.commands.chosen_segmenter import (
    load_chosen_segmenter,
    untrained_facts,
)
from stmask_ros.evaluation.annotations import (
    Annotations,
    Bgr,
    annotations_fingerprint,
    load_annotations,
    read_frame,
)
from stmask_ros.evaluation.dataset import DatasetError, Video, write_predictions
from stmask_ros.evaluation.dataset_run import DatasetRun, Worker, segmenter_fingerprint
from stmask_ros.evaluation.report_page import Latency, Report
from stmask_ros.evaluation.run_folder import RunFolder, VideoOutcome
from stmask_ros.evaluation.scores import score
from stmask_ros.evaluation.track_collection import predictions_of
from stmask_ros.output_files import claim
from stmask_ros.tracking.segmenter import ModelError, VideoSegmenter

_LOGGER = logging.getLogger(__name__)


def run(options: argparse.Namespace) -> int:
    """Run this worker's videos and, if then all are finished, score; return the exit status."""
    try:
        worker = Worker.from_environment()
        annotations = _chosen_annotations(options)
        segmenter = load_chosen_segmenter(options, worker.local_rank)
        if options.whole_video and not segmenter.sees_whole_videos:
            raise ModelError(
                f'--whole-video: {segmenter.model_name} sees a video frame by frame and cannot '
                'take it whole; leave the option out, or choose a model whose network can, see '
                'docs/models.md'
            )
        mapping = annotations.category_of_class(segmenter.class_names)
        folder = _folder(options, segmenter, worker)
        run = DatasetRun(segmenter, folder, mapping, options.whole_video)
        videos = annotations.dataset.videos
        run.run(worker.share(videos), show_progress=worker.rank == 0)
        missing = [video.name for video in videos if not folder.has(video)]
        if missing:
            _LOGGER.info('worker %d is done; %d videos are still to be finished by others',
                         worker.rank, len(missing))
            return 0
        _conclude(options, annotations, folder, segmenter)
    except (DatasetError, ModelError, OSError, ValueError) as error:
        _LOGGER.error('%s', error)
        return 1
    return 0


def _chosen_annotations(options: argparse.Namespace) -> Annotations:
    """Return the annotations that the options ask for; DatasetError or OSError."""
    annotations = load_annotations(options.annotations, options.skip_bad)
    if options.class_agnostic:
        annotations = annotations.without_classes()
    return annotations.only(options.videos) if options.videos else annotations


def _folder(
    options: argparse.Namespace, segmenter: VideoSegmenter, worker: Worker
) -> RunFolder:
    """Open the folder of this run; DatasetError if it is another's."""
    claim(options.out, 'eval dataset', options.overwrite)
    if options.overwrite:
        if worker.count > 1:
            raise DatasetError('--overwrite: expected one worker, or another could lose its part')
        RunFolder.begin_again(options.out)
    whole = {'whole_video': True} if options.whole_video else {}
    return RunFolder(options.out, options.images, segmenter_fingerprint(segmenter) | {
        'annotations': annotations_fingerprint(options.annotations),
        'skip_bad': options.skip_bad, 'class_agnostic': options.class_agnostic, **whole,
    })


def _conclude(
    options: argparse.Namespace, annotations: Annotations, folder: RunFolder,
    segmenter: VideoSegmenter,
) -> None:
    """Write the results of all videos as one, and score them where there are annotations."""
    dataset = annotations.dataset
    outcomes = [folder.load(video, dataset) for video in dataset.videos]
    tracks = [track for outcome in outcomes for track in outcome.tracks]
    for name in ('results.json', 'results.zip'):
        write_predictions(options.out / name, predictions_of(tracks))
    sys.stdout.write(f'{len(tracks)} tracks in {options.out / "results.json"} (and .zip)\n\n')
    if not dataset.tracks:
        _LOGGER.info('%s has no annotations: nothing to score, the zip is what a server takes',
                     options.annotations)
        return
    scores = score(annotations, tracks, options.identity_threshold)
    report = Report(
        f'{segmenter.model_name} on {options.annotations.name}',
        _facts(annotations, segmenter, len(tracks)),
        scores,
        _latencies(outcomes),
        lambda frames: [_frame(options.images, video, frame) for video, frame in frames],
    )
    report.write(options.out)
    sys.stdout.write(f'{report.text()}\n\nreport: {options.out / "report.html"}\n')


def _facts(
    annotations: Annotations, segmenter: VideoSegmenter, tracks: int
) -> list[tuple[str, str]]:
    dataset = annotations.dataset
    facts = [
        ('model', segmenter.model_name),
        ('device', str(segmenter.device)),
        ('videos', f'{len(dataset.videos)}, {sum(v.length for v in dataset.videos)} frames'),
        ('objects', f'{len(dataset.tracks)}, {tracks} tracks predicted'),
        ('classes', 'those of the data set' if annotations.has_classes else 'all taken as one'),
    ]
    return facts + untrained_facts(segmenter)


def _latencies(outcomes: Sequence[VideoOutcome]) -> list[Latency]:
    seconds = [value for outcome in outcomes for value in outcome.seconds]
    return [Latency('a frame, from pixels to tracks', seconds)] if seconds else []


def _frame(images: Path, video: Video, frame: int) -> Bgr | None:
    try:
        return read_frame(images, video.file_names[frame])
    except (DatasetError, IndexError):
        return None
