# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The frames in which the annotated objects were found worst, as pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from stmask_ros.evaluation.coverage import best_iou
from stmask_ros.evaluation.rle import Rle
from stmask_ros.evaluation.scores import Scores
from stmask_ros.evaluation.video_iou import VideoOverlap

Bgr = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

_WHITE: Colour = (255, 255, 255)
_RED: Colour = (60, 60, 230)
_OPACITY = 0.45
_APART = 5
_MOST_PER_VIDEO = 3
_PICTURE_WIDTH = 640
_QUALITY = 80


@dataclass(frozen=True)
class FrameScore:
    """A frame of a video, from 0, and the mean of its visible objects' best IoU."""

    video_id: int
    frame: int
    iou: float


def worst_frames(scores: Scores, count: int) -> list[FrameScore]:
    """Return the worst frames first; of one video only a few, and no neighbours."""
    frames = sorted(
        (entry for overlap in scores.overlaps for entry in _frame_scores(overlap)),
        key=lambda entry: entry.iou,
    )
    chosen: list[FrameScore] = []
    for entry in frames:
        if len(chosen) == count:
            break
        if _adds_something(entry, chosen):
            chosen.append(entry)
    return chosen


def _frame_scores(overlap: VideoOverlap) -> Iterable[FrameScore]:
    for frame, row in enumerate(best_iou(overlap)):
        visible = row[~np.isnan(row)]
        if visible.size:
            yield FrameScore(overlap.video_id, frame, float(visible.mean()))


def _adds_something(entry: FrameScore, chosen: Sequence[FrameScore]) -> bool:
    same = [other for other in chosen if other.video_id == entry.video_id]
    return len(same) < _MOST_PER_VIDEO and all(
        abs(other.frame - entry.frame) >= _APART for other in same
    )


def draw_frame(picture: Bgr, overlap: VideoOverlap, frame: int) -> bytes:
    """
    Return a JPEG of a frame.

    Each object is outlined in white, and the track that fits it best is filled in red.
    """
    drawn = picture.copy()
    iou = overlap.frame_iou()[frame]
    for row in iou:
        if row.size and row.max() > 0:
            mask = overlap.predictions[int(row.argmax())].sequence.mask(frame)
            _fill(drawn, _pixels(mask))
    for truth in overlap.truths:
        if frame < len(truth.sequence):
            _outline(drawn, _pixels(truth.sequence.mask(frame)))
    return _jpeg(drawn)


def _pixels(mask: Rle | None) -> Bgr | None:
    return None if mask is None else np.asarray(coco_mask.decode(mask), np.uint8)


def _fill(picture: Bgr, mask: Bgr | None) -> None:
    if mask is not None and mask.shape == picture.shape[:2]:
        inside = mask.astype(bool)
        picture[inside] = (picture[inside] * (1 - _OPACITY) + np.array(_RED) * _OPACITY)


def _outline(picture: Bgr, mask: Bgr | None) -> None:
    if mask is not None and mask.shape == picture.shape[:2]:
        outlines, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, outlines, -1, _WHITE, 2)


def _jpeg(picture: Bgr) -> bytes:
    scale = min(1.0, _PICTURE_WIDTH / picture.shape[1])
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode('.jpg', small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return data.tobytes()
