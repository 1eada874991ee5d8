# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The commands that bring a recording to people who label it: `stmask bag export` and `import`."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from rich.progress import track

from stmask_ros.bags.files import BagError, choose_image_topic
from stmask_ros.commands.chosen_segmenter import load_chosen_segmenter
from stmask_ros.evaluation.dataset import DatasetError
from stmask_ros.evaluation.records import json_document
from stmask_ros.labelling.coco_exchange import read_coco, write_coco
from stmask_ros.labelling.contact_sheet import CONTACT_SHEET, write_contact_sheet
from stmask_ros.labelling.cvat_exchange import read_cvat, write_cvat
from stmask_ros.labelling.editor import locked
from stmask_ros.labelling.exchange import Found, Pictures, merged
from stmask_ros.labelling.folder import (
    ANNOTATIONS,
    Labels,
    check_pictures,
    read_labels,
    write_labels,
)
from stmask_ros.labelling.label_studio_exchange import read_label_studio, write_label_studio
from stmask_ros.labelling.mask_exchange import read_masks, write_masks
from stmask_ros.labelling.recorded import chosen_frames, labels_of, seen_frames, write_pictures
from stmask_ros.labelling.yolo_exchange import read_yolo, write_yolo
from stmask_ros.output_files import OutputError, output_folder
from stmask_ros.tracking.segmenter import ModelError

_LOGGER = logging.getLogger(__name__)


def run_export(options: argparse.Namespace) -> int:
    """Write the folder; return the exit status."""
    try:
        _check_numbers(options)
        _check_not_labelled(options.out, options.overwrite)
        with output_folder(
            options.out, 'bag export', options.overwrite, [options.bag]
        ) as folder:
            labels = _export(options, folder)
    except (BagError, DatasetError, ModelError, OSError, ValueError) as error:
        _LOGGER.error('%s', error)
        return 1
    count = len(Pictures.of(labels))
    _LOGGER.info('%d frames to label in %s, see %s', count, options.out, CONTACT_SHEET)
    if not labels.tracks:
        _LOGGER.warning('the model saw no object in them: there are no masks to start from')
    return 0


def _check_numbers(options: argparse.Namespace) -> None:
    for name in ('every', 'most'):
        if getattr(options, name) < 1:
            raise ValueError(f'--{name}: expected 1 or more, got {getattr(options, name)}')


def _check_not_labelled(folder: Path, overwrite: bool) -> None:
    """Raise OutputError if people have labelled what would be replaced."""
    path = folder / ANNOTATIONS
    if overwrite or not path.is_file():
        return
    videos = read_labels(folder).videos
    if count := sum(frame.is_labelled for video in videos for frame in video.frames):
        raise OutputError(
            f'{folder} has {count} frames that were labelled, which would be lost: choose a new '
            'folder, or replace it with --overwrite')
    # Of what an export writes, the sheet comes last.
    sheet = folder / CONTACT_SHEET
    if not sheet.is_file() or path.stat().st_mtime_ns > sheet.stat().st_mtime_ns:
        raise OutputError(
            f'{path} was changed since it was exported, which would be lost: choose a new folder, '
            'or replace it with --overwrite')


def _export(options: argparse.Namespace, folder: Path) -> Labels:
    topic = choose_image_topic(options.bag, options.topic)
    _LOGGER.info('images: %s', topic)
    segmenter = load_chosen_segmenter(options)
    frames = seen_frames(options.bag, topic.topic, segmenter, options.max_gap)
    seen = list(track(frames, topic.topic, transient=True))
    choices = chosen_frames(seen, options.every, options.most)
    if not choices:
        raise BagError(f'{topic.topic} of the bag {options.bag} has no image that can be read')
    labels = labels_of(seen, choices, segmenter.class_names, options.classes)
    write_pictures(folder, options.bag, topic.topic, [each.position for each in choices])
    write_labels(folder, labels)
    write_for_tools(folder, labels, options.label_studio_images)
    write_contact_sheet(folder / CONTACT_SHEET, folder, labels)
    return labels


def write_for_tools(folder: Path, labels: Labels, label_studio_images: str) -> None:
    """Write the labels beside, as each of the tools imports them."""
    (folder / 'roboflow').mkdir()
    write_coco(folder / 'roboflow' / '_annotations.coco.json', labels)
    write_yolo(folder / 'yolo', labels, '../images')
    write_cvat(folder / 'cvat', labels)
    write_label_studio(folder / 'label_studio', labels, label_studio_images)
    write_masks(folder / 'masks', labels)


def run_import(options: argparse.Namespace) -> int:
    """Bring what a tool exported into the folder; return the exit status."""
    try:
        found = read_export(options.export, Pictures.of(read_labels(options.folder)))
        with locked(options.folder):
            labels = read_labels(options.folder)
            check_pictures(options.folder, labels)
            write_labels(options.folder, merged(labels, found, options.category))
    except (DatasetError, OSError) as error:
        _LOGGER.error('%s', error)
        return 1
    _LOGGER.info(
        '%d objects in %d pictures are labelled in %s', len(found.objects), len(found.pictures),
        options.folder)
    return 0


def read_export(path: Path, pictures: Pictures) -> Found:
    """Read what a tool exported, by what it is; DatasetError or OSError."""
    if path.is_dir():
        return (read_yolo if (path / 'data.yaml').is_file() else read_masks)(path, pictures)
    if path.suffix == '.xml':
        return read_cvat(path, pictures)
    if path.suffix != '.json':
        raise DatasetError(
            f'{path}: expected .json of COCO or Label Studio, .xml of CVAT, a folder with '
            'data.yaml, or one of mask pictures; unpack an archive first')
    with json_document(path) as document:
        is_coco = isinstance(document, dict) and 'categories' in document
    return (read_coco if is_coco else read_label_studio)(path, pictures)
