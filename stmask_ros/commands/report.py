# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The command that shows what changed between two models: `stmask report`."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import torch
from rich.progress import Progress

from stmask_ros.bags.files import BagError, choose_image_topic, read_bag
from stmask_ros.bags.image_reader import images_of
from stmask_ros.evaluation.annotations import Annotations, Bgr, load_annotations
from stmask_ros.evaluation.comparison import Comparison, compare
from stmask_ros.evaluation.comparison_page import ComparisonPage
from stmask_ros.evaluation.dataset import DatasetError
from stmask_ros.evaluation.scores import Scores, score
from stmask_ros.families.errors import ModelError
from stmask_ros.families.family import TrackerSettings
from stmask_ros.output_files import check_free, write_whole
from stmask_ros.tracking.segmenter import VideoSegmenter, load_segmenter

_LOGGER = logging.getLogger(__name__)

# Images side by side, and how far from each other they are.
_PAIRS, _APART = 6, 5
# As the node has them.
_NODE = TrackerSettings(score_threshold=0.05, birth_threshold=0.2, nms_threshold=0.4)


def run(options: argparse.Namespace) -> int:
    """Compare, and write the page; return the exit status."""
    try:
        check_free(options.out, options.overwrite)
        if options.torch_threads < 1:
            raise ValueError(f'--torch-threads: expected 1 or more, got {options.torch_threads}')
        torch.set_num_threads(options.torch_threads)
        page = _page(options)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(options.out, page.html())
    except (BagError, DatasetError, ModelError, OSError, ValueError) as error:
        _LOGGER.error('%s', error)
        return 1
    sys.stdout.write(f'{page.text()}\n\nreport: {options.out}\n')
    return 0


def _page(options: argparse.Namespace) -> ComparisonPage:
    annotations = _chosen_annotations(options)
    segmenters = (
        load_segmenter(options.before, options.device, _NODE),
        load_segmenter(options.after, options.device, _NODE),
    )
    topic = choose_image_topic(options.bag, options.topic).topic
    comparison = _compared(options, segmenters, topic)
    before, after = segmenters
    return ComparisonPage(
        f'{before.model_name} and {after.model_name}',
        [('before', before.model_name), ('after', after.model_name),
         ('images', f'{topic} in {options.bag.name}, {len(comparison.stamps)}'),
         ('device', str(before.device)),
         ('annotations', 'none' if annotations is None else options.annotations.name)],
        comparison,
        None if annotations is None else _scores(annotations, comparison),
        _pictures(options.bag, topic, comparison.most_different(_PAIRS, _APART)),
    )


def _chosen_annotations(options: argparse.Namespace) -> Annotations | None:
    """Return the annotations of the one video that the bag shows, if any are given."""
    if options.annotations is None:
        return None
    annotations = load_annotations(options.annotations)
    if options.class_agnostic:
        annotations = annotations.without_classes()
    if options.video is not None:
        return annotations.only([options.video])
    videos = annotations.dataset.videos
    if len(videos) != 1:
        raise DatasetError(
            f'{options.annotations}: holds {len(videos)} videos: name the one that the bag shows '
            '(--video)'
        )
    return annotations


def _compared(
    options: argparse.Namespace, segmenters: tuple[VideoSegmenter, VideoSegmenter], topic: str
) -> Comparison:
    with Progress(transient=True) as progress:
        task = progress.add_task(topic, total=None)
        comparison = compare(
            segmenters, read_bag(options.bag, topic), options.max_gap,
            lambda: progress.advance(task))
    if not comparison.before.results:
        raise BagError(f'{options.bag}: no image of {topic} could be shown to a model')
    return comparison


def _scores(annotations: Annotations, comparison: Comparison) -> tuple[Scores, Scores]:
    (video,) = annotations.dataset.videos
    before, after = (
        score(annotations, run.collected(video, comparison.stamps).tracks(
            annotations.category_of_class(run.class_names)))
        for run in (comparison.before, comparison.after)
    )
    return before, after


def _pictures(bag: Path, topic: str, places: list[int]) -> dict[int, Bgr]:
    return {
        place: image.pixels()
        for place, image in enumerate(images_of(read_bag(bag, topic))) if place in places
    }
