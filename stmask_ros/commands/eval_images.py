# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The command that scores a model on single pictures: `stmask eval images`."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from stmask_ros.commands.chosen_segmenter import load_chosen_segmenter
from stmask_ros.evaluation.annotations import read_frame
from stmask_ros.evaluation.dataset import DatasetError
from stmask_ros.evaluation.report import text_table
from stmask_ros.evaluation.still_pictures import (
    GROUPS,
    OTHER,
    PictureAnnotations,
    PictureScores,
    PictureSummary,
    detections_of,
    score_pictures,
)
from stmask_ros.evaluation.track_collection import match_classes
from stmask_ros.output_files import check_free, write_whole
from stmask_ros.tracking.segmenter import ModelError, VideoSegmenter

_LOGGER = logging.getLogger(__name__)


def run(options: argparse.Namespace) -> int:
    """Run the model on every picture, print the scores; return the exit status."""
    try:
        if options.output is not None:
            check_free(options.output, options.overwrite)
        annotations = PictureAnnotations.read(options.annotations, options.skip_bad)
        segmenter = load_chosen_segmenter(options)
        categories = _categories(annotations, segmenter, options.grouped)
        if options.grouped:
            annotations = annotations.grouped()
        detections = [
            detection for entries in _detected(annotations, segmenter, options, categories)
            for detection in entries
        ]
        scores = score_pictures(annotations, detections, options.recall_score)
        sys.stdout.write(_text(annotations, scores, options.recall_score))
        if options.output is not None:
            document = asdict(scores) | {'model': segmenter.model_name}
            write_whole(options.output, json.dumps(document, indent=2) + '\n')
    except (DatasetError, ModelError, OSError, ValueError) as error:
        _LOGGER.error('%s', error)
        return 1
    return 0


def _categories(
    annotations: PictureAnnotations, segmenter: VideoSegmenter, grouped: bool
) -> dict[int, int]:
    """Return the category of each class of the model; DatasetError if no class has one."""
    names = annotations.categories
    if grouped:
        numbers = {name: n for n, name in enumerate((*GROUPS, OTHER), 1)}
        known = dict(annotations.groups) | {name: name for name in numbers}
        return {
            number: numbers[known[name]]
            for number, name in enumerate(segmenter.class_names, 1) if name in known
        }
    matched = match_classes(segmenter.class_names, names)
    if not matched:
        raise DatasetError(
            f"none of the model's classes ({', '.join(segmenter.class_names[:5])}, ...) is among "
            'those of the annotations: score groups of classes with --grouped'
        )
    return matched


def _detected(
    annotations: PictureAnnotations, segmenter: VideoSegmenter, options: argparse.Namespace,
    categories: dict[int, int],
) -> Iterator[list[dict[str, Any]]]:
    """Yield what is seen in each picture, of which nothing was seen before."""
    for picture in annotations.pictures:
        size = (picture.height, picture.width)
        image = read_frame(options.images, picture.file_name, size)
        (result,), _ = segmenter.step([image], [segmenter.initial_state()])
        yield detections_of(result, picture.id, categories)


def _text(annotations: PictureAnnotations, scores: PictureScores, recall_score: float) -> str:
    header = ('[%]', 'AP', 'AP50', 'AP75', 'small', 'medium', 'large')
    rows = [_row('boxes', scores.boxes), _row('masks', scores.masks)]
    classes = [
        (name, _percent(scores.boxes.by_class[name]), _percent(ap))
        for name, ap in scores.masks.by_class.items()
    ]
    return (
        f'{text_table(header, rows)}\n\n{text_table(("AP [%]", "boxes", "masks"), classes)}\n\n'
        f'{len(annotations.pictures)} pictures, {scores.objects} objects, of which '
        f'{_percent(scores.recall)} % are found (mask IoU 0.5, right class, score '
        f'{recall_score:g} or more)\n'
    )


def _row(name: str, summary: PictureSummary) -> tuple[str, ...]:
    values = (summary.ap, summary.ap50, summary.ap75, summary.small, summary.medium, summary.large)
    return name, *map(_percent, values)


def _percent(value: float) -> str:
    return f'{100 * value:.1f}' if value == value else '-'
