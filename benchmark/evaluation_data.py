# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Synthetic ground truth and predictions of a data set's size, written as the official JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

HEIGHT, WIDTH, CATEGORIES = 360, 640, 40


@dataclass(frozen=True)
class Blob:
    """An ellipse with a wavy edge that moves on a straight line [pixel, pixel per frame]."""

    category: int
    centre: npt.NDArray[np.float64]
    speed: npt.NDArray[np.float64]
    radii: npt.NDArray[np.float64]

    def runs(self, frame: int) -> list[int]:
        """Return the uncompressed RLE of the blob in this frame; a blob outside is clipped."""
        x, y = self.centre + frame * self.speed
        columns = np.arange(max(0, int(x - self.radii[0])), min(WIDTH, int(x + self.radii[0])))
        height = np.sqrt(np.maximum(0, 1 - ((columns - x) / self.radii[0]) ** 2)) * self.radii[1]
        height *= 1 + 0.1 * np.sin(columns / 3)
        top = np.clip(y - height, 1, HEIGHT - 3).astype(int)
        bottom = np.maximum(top + 1, np.clip(y + height, 1, HEIGHT - 2).astype(int))
        edges = np.column_stack([columns * HEIGHT + top, columns * HEIGHT + bottom]).ravel()
        return np.diff(edges, prepend=0, append=HEIGHT * WIDTH).tolist()

    def moved(self, offset: npt.NDArray[np.float64], category: int) -> Blob:
        """Return the same blob elsewhere, of another class perhaps."""
        return Blob(category, self.centre + offset, self.speed, self.radii)


def write_data(folder: Path, videos: int, frames: int, seed: int = 0) -> tuple[Path, Path]:
    """Write gt.json (three objects a video) and pred.json (ten predictions); return the paths."""
    generator = np.random.default_rng(seed)
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for video in range(1, videos + 1):
        objects = [_random_blob(generator) for _ in range(3)]
        for blob in objects:
            annotations.append(_annotation(len(annotations) + 1, video, blob, frames))
        results += [
            _result(video, blob, frames, float(generator.random()))
            for blob in _hypotheses(generator, objects)
        ]
    truth = {
        'info': {}, 'licenses': [],
        'videos': [_video(video, frames) for video in range(1, videos + 1)],
        'categories': [{'id': key, 'name': f'class {key}'} for key in range(1, CATEGORIES + 1)],
        'annotations': annotations,
    }
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / 'gt.json', folder / 'pred.json'
    for path, document in zip(paths, (truth, results), strict=True):
        path.write_text(json.dumps(document), encoding='utf-8')
    return paths


def _random_blob(generator: np.random.Generator) -> Blob:
    return Blob(
        int(generator.integers(1, CATEGORIES + 1)),
        generator.uniform((100, 80), (WIDTH - 100, HEIGHT - 80)),
        generator.uniform(-2, 2, 2),
        generator.uniform((35, 25), (90, 70)),
    )


def _hypotheses(generator: np.random.Generator, objects: list[Blob]) -> list[Blob]:
    """Return ten: three near each object, one of them perhaps of a wrong class, and another."""
    near = []
    for blob in objects:
        confused = int(generator.integers(1, CATEGORIES + 1))
        category = blob.category if generator.random() < 0.5 else confused
        near.append(blob.moved(generator.normal(0, 3, 2), blob.category))
        near.append(blob.moved(generator.normal(0, 8, 2), blob.category))
        near.append(blob.moved(generator.normal(0, 12, 2), category))
    return [*near, _random_blob(generator)]


def _video(video: int, frames: int) -> dict[str, Any]:
    names = [f'{video:05d}/{frame:05d}.jpg' for frame in range(frames)]
    return {'id': video, 'height': HEIGHT, 'width': WIDTH, 'length': frames, 'file_names': names}


def _annotation(key: int, video: int, blob: Blob, frames: int) -> dict[str, Any]:
    runs = [blob.runs(frame) for frame in range(frames)]
    return {
        'id': key, 'video_id': video, 'category_id': blob.category, 'iscrowd': 0,
        'height': HEIGHT, 'width': WIDTH, 'length': frames,
        'segmentations': [{'size': [HEIGHT, WIDTH], 'counts': counts} for counts in runs],
        'areas': [sum(counts[1::2]) for counts in runs],
        'bboxes': [None] * frames,
    }


def _result(video: int, blob: Blob, frames: int, score: float) -> dict[str, Any]:
    masks = [
        coco_mask.frPyObjects({'size': [HEIGHT, WIDTH], 'counts': blob.runs(frame)}, HEIGHT, WIDTH)
        for frame in range(frames)
    ]
    return {
        'video_id': video, 'category_id': blob.category, 'score': score,
        'segmentations': [
            {'size': [HEIGHT, WIDTH], 'counts': mask['counts'].decode('ascii')} for mask in masks
        ],
    }
