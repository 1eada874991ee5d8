# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
A folder of pictures to be labelled: `images/` and `annotations.json` beside it.

The file is YouTube-VIS JSON, so that evaluation and training read it as it is. Each video has two
lists more, of as many entries as `file_names`: `labelled`, true for a frame that a person has
looked at, false for one that only a model has labelled; and `reasons`, why the frame was chosen.
Each track has two more: `carried`, the frames whose masks come from another frame, and
`carrying`, those whose masks are still to be carried on, each with the frame before which it ends.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from stmask_ros.evaluation.annotations import read_frame
from stmask_ros.evaluation.coco_file import whole_document
from stmask_ros.evaluation.dataset import Category, DatasetError, Video, parse_dataset
from stmask_ros.evaluation.records import Record
from stmask_ros.evaluation.rle import Rle
from stmask_ros.masks import BoolArray
from stmask_ros.output_files import write_whole

IMAGES = 'images'
ANNOTATIONS = 'annotations.json'
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class LabelFrame:
    """
    A frame of a video.

    file_name: of its picture, below images/. stamp: [ns], None if it has none. is_labelled: a
    person has looked at it; else its masks are what a model said. reason: why it was chosen, ''
    if nobody knows.
    """

    file_name: str
    stamp: int | None = None
    is_labelled: bool = False
    reason: str = ''


@dataclass(frozen=True)
class LabelVideo:
    """A video: its id, frame size [pixel] and frames in order."""

    id: int
    height: int
    width: int
    frames: tuple[LabelFrame, ...]


@dataclass(frozen=True)
class LabelTrack:
    """
    An object: its id, which no other has in the folder, its video and its class.

    masks: one for each frame of the video as `encoded` gives it, None where it is not seen.
    is_crowd: several objects in one mask. carried: the frames whose masks the program carried
    there from another frame. carrying: the frames whose masks are still to be carried on to those
    that follow, each with the frame before which that ends.
    """

    id: int
    video_id: int
    category_id: int
    masks: tuple[Rle | None, ...]
    is_crowd: bool = False
    carried: frozenset[int] = frozenset()
    carrying: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Labels:
    """All that a folder's annotations say. Categories have names, and may have no objects."""

    videos: tuple[LabelVideo, ...]
    categories: tuple[Category, ...]
    tracks: tuple[LabelTrack, ...]

    def tracks_of(self, video_id: int) -> tuple[LabelTrack, ...]:
        """Return the objects of a video."""
        return tuple(track for track in self.tracks if track.video_id == video_id)

    def track(self, track_id: int) -> LabelTrack:
        """Return an object by its id; KeyError if there is none."""
        return {track.id: track for track in self.tracks}[track_id]

    def category(self, category_id: int) -> Category:
        """Return a class by its id; KeyError if there is none."""
        return {category.id: category for category in self.categories}[category_id]


def encoded(mask: BoolArray) -> Rle | None:
    """Return a mask, bool [H, W], for a track; None if it has no pixel."""
    if not mask.any():
        return None
    rle: Rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return rle


def decoded(mask: Rle) -> BoolArray:
    """Return the pixels of a track's mask, bool [H, W]."""
    return np.asarray(coco_mask.decode(mask), bool)


def read_labels(folder: Path) -> Labels:
    """
    Read a folder's annotations.json; DatasetError or OSError if that cannot be done.

    `labelled` may be missing: the masks of any other YouTube-VIS file are taken for a person's.
    """
    path = folder / ANNOTATIONS
    if not path.is_file():
        raise DatasetError(
            f'{folder}: expected a folder with {ANNOTATIONS} and {IMAGES}/, as `stmask bag '
            'export` writes it')
    document = whole_document(path)
    dataset = parse_dataset(document, str(path))
    records, entries = (
        {record.integer('id'): record
         for record in (Record(*item) for item in Record(document, str(path)).records(name))}
        for name in ('videos', 'annotations')
    )
    tracks = tuple(
        LabelTrack(t.id, t.video_id, t.category_id, tuple(t.sequence.masks), t.is_crowd,
                   _carried(entries[t.id], len(t.sequence.masks)),
                   _carrying(entries[t.id], t.sequence.masks))
        for t in dataset.tracks
    )
    videos = tuple(_video(video, records[video.id]) for video in dataset.videos)
    labels = Labels(videos, dataset.categories, tracks)
    check_labels(labels, str(path))
    return labels


def write_labels(folder: Path, labels: Labels) -> None:
    """Write annotations.json, whole or not at all; DatasetError if the labels do not fit."""
    check_labels(labels, str(folder))
    write_whole(folder / ANNOTATIONS, json.dumps(as_document(labels)))


def as_document(labels: Labels) -> dict[str, Any]:
    """Return what annotations.json says."""
    return {
        'info': {'description': 'labels of stmask'},
        'videos': [_video_entry(video) for video in labels.videos],
        'categories': [{'id': c.id, 'name': c.name} for c in labels.categories],
        'annotations': [_track_entry(track) for track in labels.tracks],
    }


def check_labels(labels: Labels, source: str) -> None:
    """Raise DatasetError if a track does not fit its video. source: what the message names."""
    videos = {video.id: video for video in labels.videos}
    for track in labels.tracks:
        video = videos[track.video_id]
        if len(track.masks) != len(video.frames):
            raise DatasetError(
                f'{source}: track {track.id} has {len(track.masks)} masks: expected one for each '
                f'of the {len(video.frames)} frames of video {video.id}, or null')
        for index, mask in enumerate(track.masks):
            if mask is not None and list(mask['size']) != [video.height, video.width]:
                height, width = mask['size']
                raise DatasetError(
                    f'{source}: track {track.id}, frame {index}: a mask of {width}x{height} '
                    f'pixels, and the video has {video.width}x{video.height}')


def write_picture(path: Path, pixels: npt.NDArray[Any]) -> None:
    """Write a picture, as its suffix says; OSError if that cannot be done."""
    # cv2.imwrite says nothing of a full disk.
    _, data = cv2.imencode(path.suffix, pixels, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    path.write_bytes(data.tobytes())


def check_pictures(folder: Path, labels: Labels) -> None:
    """Raise DatasetError for the first picture that is missing, broken or of another size."""
    for video in labels.videos:
        for frame in video.frames:
            read_frame(folder / IMAGES, frame.file_name, (video.height, video.width))


def _video(video: Video, record: Record) -> LabelVideo:
    count = len(video.file_names)
    labelled = _list(record, 'labelled', count, bool, [True] * count)
    reasons = _list(record, 'reasons', count, str, [''] * count)
    stamps: Sequence[int | None] = video.stamps or [None] * count
    return LabelVideo(video.id, video.height, video.width, tuple(
        map(LabelFrame, video.file_names, stamps, labelled, reasons)))


def _carried(record: Record, count: int) -> frozenset[int]:
    frames = record.items('carried') if record.has('carried') else []
    if not all(type(frame) is int and 0 <= frame < count for frame in frames):
        raise DatasetError(f"{record.where}: 'carried': expected frames from 0 to {count - 1}")
    return frozenset(frames)


def _carrying(record: Record, masks: Sequence[Rle | None]) -> dict[int, int]:
    pairs = record.items('carrying') if record.has('carrying') else []
    for pair in pairs:
        if not (isinstance(pair, list) and len(pair) == 2 and all(type(n) is int for n in pair)
                and 0 <= pair[0] < pair[1] <= len(masks) and masks[pair[0]] is not None):
            raise DatasetError(
                f"{record.where}: 'carrying': expected pairs of a frame with a mask, and a later "
                f'one, {len(masks)} at most')
    return dict(pairs)


def _list(
    record: Record, name: str, count: int, kind: type, default: Sequence[Any]
) -> Sequence[Any]:
    if not record.has(name):
        return default
    values = record.items(name)
    if len(values) != count or not all(isinstance(value, kind) for value in values):
        expected = 'true or false' if kind is bool else 'texts'
        raise DatasetError(f"{record.where}: '{name}': expected {count} values, {expected}")
    return values


def _video_entry(video: LabelVideo) -> dict[str, Any]:
    entry: dict[str, Any] = {
        'id': video.id, 'height': video.height, 'width': video.width,
        'length': len(video.frames),
        'file_names': [frame.file_name for frame in video.frames],
        'labelled': [frame.is_labelled for frame in video.frames],
        'reasons': [frame.reason for frame in video.frames],
    }
    if video.frames and all(frame.stamp is not None for frame in video.frames):
        entry['stamps'] = [frame.stamp for frame in video.frames]
    return entry


def _track_entry(track: LabelTrack) -> dict[str, Any]:
    return {
        'id': track.id, 'video_id': track.video_id, 'category_id': track.category_id,
        'iscrowd': int(track.is_crowd),
        'segmentations': [mask and as_text(mask) for mask in track.masks],
        'bboxes': [mask and coco_mask.toBbox(mask).tolist() for mask in track.masks],
        'areas': [mask and int(coco_mask.area(mask)) for mask in track.masks],
        'carried': sorted(track.carried), 'carrying': sorted(track.carrying.items()),
    }


def as_text(mask: Rle) -> dict[str, Any]:
    """Return a track's mask as JSON has it."""
    counts = mask['counts']
    assert isinstance(counts, bytes)
    return {'size': [int(side) for side in mask['size']], 'counts': counts.decode('ascii')}
