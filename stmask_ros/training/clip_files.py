# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Synthetic clips on disk, as a data set in the format of YouTube-VIS."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from stmask_ros.output_files import whole_file, write_whole
from stmask_ros.training.frames import AnnotatedFrame, BoolArray
from stmask_ros.training.synthetic import Clip


def write_clips(folder: Path, clips: Iterable[Clip], classes: Sequence[str]) -> Path:
    """
    Write frames to folder/JPEGImages and annotations to folder/instances.json; return the latter.

    classes: names of class 1, 2, ... The annotations of a video are listed the farthest object
    first: of two that overlap, the later one hides the earlier.
    """
    videos: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, clip in enumerate(clips, 1):
        name = f'{number:05d}'
        frames = _write_frames(folder / 'JPEGImages' / name, clip)
        videos.append({
            'id': number, 'height': clip.config.height, 'width': clip.config.width,
            'length': len(frames),
            'file_names': [f'{name}/{index:05d}.jpg' for index in range(len(frames))],
        })
        for track in _tracks(frames):
            annotations.append({'id': len(annotations) + 1, 'video_id': number, **track})
    path = folder / 'instances.json'
    write_whole(path, json.dumps({
        'info': {'description': 'synthetic clips'},
        'videos': videos,
        'categories': [{'id': i, 'name': name} for i, name in enumerate(classes, 1)],
        'annotations': annotations,
    }))
    return path


def _write_frames(folder: Path, clip: Clip) -> list[AnnotatedFrame]:
    folder.mkdir(parents=True, exist_ok=True)
    frames = []
    for index in range(clip.config.frames):
        frame, jpeg = clip.encoded_frame(index)
        with whole_file(folder / f'{index:05d}.jpg') as part:
            part.write_bytes(jpeg)
        frames.append(frame)
    return frames


def _tracks(frames: Sequence[AnnotatedFrame]) -> list[dict[str, Any]]:
    labels = {
        object_id: label for frame in frames
        for object_id, label in zip(frame.ids.tolist(), frame.labels.tolist(), strict=True)
    }
    return [
        {'category_id': labels[object_id], 'iscrowd': 0, **_shapes(frames, object_id)}
        for object_id in sorted(labels)
    ]


def _shapes(frames: Sequence[AnnotatedFrame], object_id: int) -> dict[str, list[Any]]:
    shapes: dict[str, list[Any]] = {'segmentations': [], 'bboxes': [], 'areas': []}
    for frame in frames:
        row = np.flatnonzero(frame.ids == object_id)
        shape = _shape(frame.masks[row[0]]) if len(row) else (None, None, None)
        for values, value in zip(shapes.values(), shape, strict=True):
            values.append(value)
    return shapes


def _shape(mask: BoolArray) -> tuple[dict[str, Any], list[float], int]:
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    box = coco_mask.toBbox(rle).tolist()
    segmentation = {'size': list(rle['size']), 'counts': rle['counts'].decode('ascii')}
    return segmentation, box, int(coco_mask.area(rle))
