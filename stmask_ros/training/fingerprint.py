# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What decides the result of a training run; a run that goes on must have the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from stmask_ros.evaluation.annotations import annotations_fingerprint
from stmask_ros.evaluation.coco_file import whole_document
from stmask_ros.evaluation.records import Record
from stmask_ros.fingerprint import Fingerprint, file_sha256, files_fingerprint, versions
from stmask_ros.training.config import CocoData, TrainingConfig, VideoData
from stmask_ros.training.sources import chosen_annotations

# A configuration's name tells its family. Where a run is kept, how long it is, how it is
# watched, and from when on weights are averaged.
MAY_CHANGE = (
    'family', 'out', 'iterations', 'workers', 'log_every', 'checkpoint_every', 'validate_every',
    'validation', 'averaged_iterations',
)
_DATA = ('videos', 'synthetic', 'pictures', 'initial_weights')


def training_fingerprint(config: TrainingConfig) -> Fingerprint:
    """
    Return the options but MAY_CHANGE, the files that they name, and the versions.

    Raises OSError or DatasetError if a file cannot be read.
    """
    options = {
        name: value for name, value in asdict(config).items() if name not in (*MAY_CHANGE, *_DATA)
    }
    weights = config.initial_weights
    return {
        **options,
        'loss': {name: file_sha256(value) if isinstance(value, Path) else value
                 for name, value in asdict(config.loss_options()).items()},
        'initial_weights': None if weights is None else file_sha256(weights),
        'videos': _each(map(_videos, config.videos)),
        'synthetic': _each(
            {
                'coco': _each(map(_coco, data.coco)), 'videos': _each(map(_videos, data.videos)),
                'stride': data.stride, 'most_in_background': data.most_in_background,
                'clips': asdict(data.clips), 'pairs': data.pairs,
            }
            for data in config.synthetic
        ),
        'pictures': _each(
            _coco(data.coco) | {'crops': asdict(data.crops)} for data in config.pictures
        ),
        'versions': versions(),
    }


def _each(fingerprints: Iterable[Fingerprint]) -> Fingerprint:
    """Return entries under their numbers, so that a difference names the one that has it."""
    return {str(number): fingerprint for number, fingerprint in enumerate(fingerprints)}


def _videos(data: VideoData) -> Fingerprint:
    videos = chosen_annotations(data).dataset.videos
    names = [name for video in videos for name in video.file_names]
    return _data(data, names) | {'only': list(data.videos)}


def _coco(data: CocoData) -> Fingerprint:
    pictures = Record(whole_document(data.annotations), str(data.annotations)).items('images')
    # One without a name is told, or left out, where they are read.
    named = [picture['file_name'] for picture in pictures
             if isinstance(picture, dict) and isinstance(picture.get('file_name'), str)]
    return _data(data, named)


def _data(data: VideoData | CocoData, names: Iterable[str]) -> Fingerprint:
    return {
        'annotations': annotations_fingerprint(data.annotations),
        'images': files_fingerprint(Path(data.images), names),
        'classes': asdict(data.classes),
    }
