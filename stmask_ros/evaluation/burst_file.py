# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The JSON files of BURST, as its ANNOTATION_FORMAT.md describes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stmask_ros.evaluation.dataset import (
    Category,
    Dataset,
    DatasetError,
    GroundTruthTrack,
    Video,
    average_area,
)
from stmask_ros.evaluation.records import BadEntries, Record
from stmask_ros.evaluation.rle import MaskSequence, Rle, SegmentationError


def is_burst(document: Any) -> bool:
    """Return whether a decoded JSON file is one of BURST."""
    return isinstance(document, dict) and 'sequences' in document


def parse_burst(document: Any, source: str, skip_bad: bool = False) -> Dataset:
    """
    Check and convert a decoded file; DatasetError if it is not as the format has it.

    Frames are those that are annotated, named `dataset/sequence/picture`. source: what messages
    call the file. skip_bad: leave out what is wrong, with a warning of how many.
    """
    root, bad = Record(document, source), BadEntries(skip_bad)
    categories: dict[int, Category] = {}
    for values, where in root.records('categories'):
        with bad.left_out():
            record = Record(values, where)
            categories[record.integer('id')] = Category(record.integer('id'), record.text('name'))
    videos: dict[int, Video] = {}
    tracks: list[GroundTruthTrack] = []
    for values, where in root.records('sequences'):
        with bad.left_out():
            record = Record(values, where)
            video = _video(record)
            if video.id in videos:
                raise DatasetError(f'{where}: id {video.id} is there twice')
            masks = _masks(record, video)
            videos[video.id] = video
            tracks += _tracks(record, video, masks, categories, bad, len(tracks) + 1)
    bad.tell()
    return Dataset(
        tuple(videos[key] for key in sorted(videos)),
        tuple(categories[key] for key in sorted(categories)), tuple(tracks))


def _video(record: Record) -> Video:
    place = f"{record.text('dataset')}/{record.text('seq_name')}"
    names = tuple(f'{place}/{name}' for name in record.texts('annotated_image_paths'))
    return Video(record.integer('id'), *record.size(), len(names), names)


def _masks(record: Record, video: Video) -> dict[str, list[Rle | None]]:
    """Return the masks of each track by its name, one a frame."""
    frames = record.items('segmentations')
    if len(frames) != video.length:
        raise DatasetError(
            f"{record.where}: 'segmentations' has {len(frames)} entries, but there are "
            f'{video.length} annotated frames')
    masks: dict[str, list[Rle | None]] = {}
    for index, values in enumerate(frames):
        shown = Record(values, f'{record.where}: segmentations[{index}]')
        for name, entry in shown.values.items():
            text = Record(entry, f"{shown.where}: '{name:.40}'").text('rle')
            masks.setdefault(name, [None] * video.length)[index] = {
                'size': [video.height, video.width], 'counts': text}
    return masks


def _tracks(
    record: Record, video: Video, masks: Mapping[str, list[Rle | None]],
    categories: Mapping[int, Category], bad: BadEntries, first_id: int,
) -> Iterator[GroundTruthTrack]:
    chosen = Record(record.values.get('track_category_ids'), f'{record.where}: track_category_ids')
    for track_id, (name, entries) in enumerate(masks.items(), first_id):
        with bad.left_out():
            category_id = chosen.integer(name)
            if category_id not in categories:
                raise DatasetError(f'{chosen.where}: {category_id} is not among the categories')
            try:
                sequence = MaskSequence.from_masks(entries)
            except SegmentationError as error:
                raise DatasetError(
                    f"{record.where}: segmentations of '{name:.40}': {error}") from error
            area = average_area(sequence.areas.tolist())
            yield GroundTruthTrack(track_id, video.id, category_id, False, area, sequence)
