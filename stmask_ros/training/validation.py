# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The average precision of a network in training, as `stmask eval dataset` measures it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from stmask_ros.evaluation.annotations import Annotations
from stmask_ros.evaluation.dataset_run import DatasetRun, Worker, segmenter_fingerprint
from stmask_ros.evaluation.run_folder import RunFolder
from stmask_ros.evaluation.track_collection import predictions_of
from stmask_ros.evaluation.vis_metric import VisSummary, evaluate_vis
from stmask_ros.tracking.segmenter import VideoSegmenter


def validate(
    segmenter: VideoSegmenter, annotations: Annotations, images: Path, folder: Path,
    worker: Worker, wait_for_all: Callable[[], None],
) -> VisSummary:
    """
    Run all videos, each worker its share, and return the scores.

    Annotations without classes are scored with all classes taken as one. folder: for the
    results, of which none of an earlier network is taken over; every worker sees it.
    wait_for_all: returns when all workers are done.
    """
    mapping = annotations.category_of_class(segmenter.class_names)
    if worker.rank == 0:
        RunFolder.begin_again(folder)
    wait_for_all()
    results = RunFolder(folder, images, segmenter_fingerprint(segmenter))
    videos = annotations.dataset.videos
    run = DatasetRun(segmenter, results, mapping)
    run.run(worker.share(videos), show_progress=False)
    wait_for_all()
    outcomes = [results.load(video, annotations.dataset) for video in videos]
    tracks = [track for outcome in outcomes for track in outcome.tracks]
    return evaluate_vis(annotations.dataset, predictions_of(tracks)).summary
