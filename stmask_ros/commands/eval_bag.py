# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The command that scores a bag: `stmask eval bag`."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress

from stmask_ros.bags.files import (
    BagError,
    choose_image_topic,
    image_topic,
    instances_topic,
    read_bag,
)
from stmask_ros.bags.image_reader import images_of
from stmask_ros.commands.chosen_segmenter import load_chosen_segmenter, untrained_facts
from stmask_ros.evaluation.annotations import Annotations, Bgr, load_annotations
from stmask_ros.evaluation.bag_runs import BagRun, FrameMatcher, RecordedRun, ReplayedRun
from stmask_ros.evaluation.dataset import DatasetError, Video, write_predictions
from stmask_ros.evaluation.report_page import Report
from stmask_ros.evaluation.scores import score
from stmask_ros.evaluation.track_collection import NamedTrack, predictions_of
from stmask_ros.images import ImageError
from stmask_ros.output_files import output_folder
from stmask_ros.tracking.replay import Replay, stamp_of
from stmask_ros.tracking.segmenter import ModelError

Facts = list[tuple[str, str]]

_LOGGER = logging.getLogger(__name__)


def run(options: argparse.Namespace) -> int:
    """Score a bag; return the exit status: 1 if it is damaged, though what it holds is scored."""
    try:
        with output_folder(options.out, 'eval bag', options.overwrite, [options.bag]) as folder:
            outcome, text = _score(options, folder)
        sys.stdout.write(f'{text}\n\nreport: {options.out / "report.html"}\n')
    except (BagError, DatasetError, ModelError, OSError, ValueError) as error:
        _LOGGER.error('%s', error)
        return 1
    if outcome.damage:
        _LOGGER.error('%s; what could be read is scored, the rest counts as missed',
                      outcome.damage)
    return 1 if outcome.damage else 0


def _score(options: argparse.Namespace, folder: Path) -> tuple[BagRun, str]:
    """Run or read, write results and report into a folder, and return the tables too."""
    annotations = _chosen_annotations(options)
    video = annotations.dataset.videos[0]
    outcome, facts = (_recorded if options.from_recorded else _replayed)(options, video)
    tracks = outcome.collector.tracks(annotations.category_of_class(outcome.class_names))
    write_predictions(folder / 'results.json', predictions_of(tracks))
    report = _report(options, annotations, outcome, facts, tracks)
    report.write(folder)
    return outcome, report.text()


def _chosen_annotations(options: argparse.Namespace) -> Annotations:
    """Return the annotations of the one video that the bag shows."""
    annotations = load_annotations(options.annotations, options.skip_bad)
    if options.class_agnostic:
        annotations = annotations.without_classes()
    videos = annotations.dataset.videos
    if options.video is None and len(videos) == 1:
        return annotations
    name = options.video or options.bag.stem
    if options.video is None and name not in {video.name for video in videos}:
        raise DatasetError(
            f'the annotations hold {len(videos)} videos and none is called {name} as the bag is: '
            'name the one that the bag shows (--video)'
        )
    return annotations.only([name])


def _replayed(options: argparse.Namespace, video: Video) -> tuple[BagRun, Facts]:
    chosen = choose_image_topic(options.bag, options.topic)
    _LOGGER.info('images: %s', chosen)
    segmenter = load_chosen_segmenter(options)
    replay = Replay(segmenter, options.max_gap)
    with Progress(transient=True) as progress:
        images = progress.track(
            replay.run(read_bag(options.bag, chosen.topic)), video.length, description=video.name
        )
        outcome = ReplayedRun(video).read(images, segmenter.class_names)
    return outcome, [
        ('images', f'{chosen}, replayed'),
        ('model', segmenter.model_name),
        ('device', str(segmenter.device)),
        *untrained_facts(segmenter),
    ]


def _recorded(options: argparse.Namespace, video: Video) -> tuple[BagRun, Facts]:
    topic = instances_topic(options.bag, options.instances_topic)
    images = _topic_of_images(options)
    outcome = RecordedRun(video).read(
        read_bag(options.bag, images) if images else (), read_bag(options.bag, topic)
    )
    models = sorted({message.content.model for message in read_bag(options.bag, topic)})
    return outcome, [
        ('instances', f'{topic}, as recorded'), ('images', images or 'not recorded'),
        ('model', ', '.join(models) or 'unknown'),
    ]


def _topic_of_images(options: argparse.Namespace) -> str:
    """Return the topic of images; '' where there is none and none is asked for."""
    try:
        return image_topic(options.bag, options.topic)
    except BagError as error:
        if options.topic:
            raise
        _LOGGER.info('no images are shown: %s', error)
        return ''


def _report(
    options: argparse.Namespace, annotations: Annotations, outcome: BagRun, facts: Facts,
    tracks: Sequence[NamedTrack],
) -> Report:
    video = annotations.dataset.videos[0]
    matched = 'by stamp' if FrameMatcher(video).by_stamp else 'by order'
    return Report(
        f'{video.name} in {options.bag.name}',
        [*facts, ('video', f'{video.name}, {video.length} frames, matched {matched}'),
         *([('damage', outcome.damage)] if outcome.damage else [])],
        score(annotations, tracks, options.identity_threshold),
        outcome.latencies,
        lambda frames: _pictures(options, video, [frame for _, frame in frames]),
        [outcome.count_table()],
    )


def _pictures(
    options: argparse.Namespace, video: Video, frames: Sequence[int]
) -> list[Bgr | None]:
    """Return the pictures of some frames; None for those that the bag does not hold."""
    topic = _topic_of_images(options)
    if not topic:
        return [None] * len(frames)
    matcher = FrameMatcher(video)
    found: dict[int, Bgr] = {}
    try:
        for position, image in enumerate(images_of(read_bag(options.bag, topic))):
            frame = matcher.frame_of(position, stamp_of(image.taken))
            if frame is not None and frame in frames:
                found[frame] = image.pixels()
    except (BagError, ImageError) as error:
        _LOGGER.info('no more pictures for the report: %s', error)
    return [found.get(frame) for frame in frames]
