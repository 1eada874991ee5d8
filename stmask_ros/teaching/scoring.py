# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""How well a model finds the objects of labelled frames, each frame by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from stmask_ros.evaluation.still_pictures import (
    PictureAnnotations,
    detections_of,
    score_pictures,
)
from stmask_ros.evaluation.track_collection import match_classes
from stmask_ros.families.frames import AnnotatedFrame
from stmask_ros.tracking.segmenter import VideoSegmenter

# Lowest score that counts in the share of objects found: the node's, of a new track.
RECALL_SCORE = 0.2


@dataclass(frozen=True)
class FrameScores:
    """Mask AP, mean and by class, and the share of the objects found [0, 1]; NaN without any."""

    ap: float
    ap50: float
    by_class: Mapping[str, float]
    recall: float

    def mean_of(self, names: Sequence[str]) -> float:
        """Return the mean AP of those of these classes that have objects; NaN of none."""
        values = [self.by_class[name] for name in names if name in self.by_class]
        return float(np.mean(values)) if values else float('nan')


def score_frames(
    segmenter: VideoSegmenter, frames: Sequence[AnnotatedFrame], class_names: Sequence[str]
) -> FrameScores:
    """Score a segmenter on frames; class_names: of labels 1, 2, ...; label 0 does not count."""
    annotations = PictureAnnotations(_document(frames, class_names), 'labelled frames')
    categories = match_classes(segmenter.class_names, dict(enumerate(class_names, 1)))
    detections: list[dict[str, Any]] = []
    for number, frame in enumerate(frames, 1):
        (result,), _ = segmenter.step([frame.image], [segmenter.initial_state()])
        detections += detections_of(result, number, categories)
    scores = score_pictures(annotations, detections, RECALL_SCORE)
    return FrameScores(
        scores.masks.ap, scores.masks.ap50, scores.masks.by_class, scores.recall)


def _document(frames: Sequence[AnnotatedFrame], class_names: Sequence[str]) -> dict[str, Any]:
    objects = [
        (number, label, mask) for number, frame in enumerate(frames, 1)
        for label, mask in zip(frame.labels.tolist(), frame.masks, strict=True) if label
    ]
    return {
        'images': [
            {'id': number, 'file_name': f'{number}.jpg', 'height': frame.image.shape[0],
             'width': frame.image.shape[1]} for number, frame in enumerate(frames, 1)
        ],
        'categories': [
            {'id': number, 'name': name} for number, name in enumerate(class_names, 1)],
        'annotations': [
            _entry(row, picture, label, mask)
            for row, (picture, label, mask) in enumerate(objects, 1)
        ],
    }


def _entry(row: int, picture: int, label: int, mask: np.ndarray[Any, Any]) -> dict[str, Any]:
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {
        'id': row, 'image_id': picture, 'category_id': label, 'iscrowd': 0,
        'bbox': coco_mask.toBbox(rle).tolist(), 'area': float(coco_mask.area(rle)),
        'segmentation': {'size': list(rle['size']), 'counts': rle['counts'].decode('ascii')},
    }
