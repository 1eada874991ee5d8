# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Scores of single pictures in COCO's format: box and mask AP, and how much is found."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from stmask_ros.evaluation.coco_file import CocoCategory, CocoFile, parse_coco, whole_document
from stmask_ros.tracking.results import FrameResult

Kind = Literal['bbox', 'segm']
# COCO's supercategories that stay groups; all others are one.
GROUPS = ('person', 'animal', 'vehicle')
OTHER = 'object'
_FOUND_IOU = 0.5


@dataclass(frozen=True)
class PictureSummary:
    """
    COCO's averages, in [0, 1], NaN where nothing defines them.

    small, medium, large: AP of objects of less than 32x32 pixels, of 96x96, and of more.
    by_class: AP of each category that has objects.
    """

    ap: float
    ap50: float
    ap75: float
    small: float
    medium: float
    large: float
    by_class: Mapping[str, float]


@dataclass(frozen=True)
class PictureScores:
    """
    Of boxes and of masks. recall: share of the objects found at a score, see `score_pictures`.

    objects: annotated ones that count, no crowds.
    """

    boxes: PictureSummary
    masks: PictureSummary
    recall: float
    objects: int


class PictureAnnotations:
    """A file in COCO's format, and where its pictures' results go."""

    def __init__(
        self, document: Any, source: str = 'annotations', skip_bad: bool = False
    ) -> None:
        """
        Check and index a decoded file; DatasetError if it is not as COCO has it.

        Objects get numbers from 1, since pycocotools takes 0 for no match. See parse_coco.
        """
        self._file = parse_coco(document, source, skip_bad)
        self.pictures = tuple(self._file.pictures.values())
        self.categories = {number: c.name for number, c in self._file.categories.items()}
        self.coco = COCO()
        self.coco.dataset = _dataset(self._file)
        with _silence():
            self.coco.createIndex()

    @property
    def groups(self) -> Mapping[str, str]:
        """Return the group of each category, by their names."""
        return {c.name: group_of(c) for c in self._file.categories.values()}

    @classmethod
    def read(cls, path: Path, skip_bad: bool = False) -> PictureAnnotations:
        """Return a file's content; DatasetError or OSError. See load_coco."""
        return cls(whole_document(path), str(path), skip_bad)

    def grouped(self) -> PictureAnnotations:
        """Return the same objects, as persons, animals, vehicles, and objects for all else."""
        groups = (*GROUPS, OTHER)
        number = {
            category.id: 1 + groups.index(group_of(category))
            for category in self._file.categories.values()
        }
        return PictureAnnotations(self.coco.dataset | {
            'categories': [{'id': n, 'name': name} for n, name in enumerate(groups, 1)],
            'annotations': [
                entry | {'category_id': number[entry['category_id']]}
                for entry in self.coco.dataset['annotations']
            ],
        })


def _dataset(file: CocoFile) -> dict[str, Any]:
    """Return a file as pycocotools wants it."""
    return {
        'images': [
            {'id': p.id, 'file_name': p.file_name, 'height': p.height, 'width': p.width}
            for p in file.pictures.values()
        ],
        'categories': [
            {'id': c.id, 'name': c.name, 'supercategory': c.supercategory}
            for c in file.categories.values()
        ],
        'annotations': [
            {'id': number, 'image_id': o.picture_id, 'category_id': o.category_id,
             'bbox': list(o.box), 'area': o.area, 'iscrowd': int(o.is_crowd),
             'segmentation': {'size': list(o.mask['size']), 'counts': _text(o.mask['counts'])}}
            for number, o in enumerate(file.objects.values(), 1)
        ],
    }


def _text(counts: Any) -> str:
    return counts.decode('ascii') if isinstance(counts, bytes) else str(counts)


def group_of(category: CocoCategory) -> str:
    """Return the group of one of COCO's categories."""
    names = (category.name, category.supercategory)
    return next((name for name in names if name in GROUPS), OTHER)


def detections_of(
    result: FrameResult, picture: int, category_of_class: Mapping[int, int]
) -> list[dict[str, Any]]:
    """Return a result as COCO has it; classes without a category are left out."""
    size = (result.image_height, result.image_width)
    rows = zip(
        result.class_ids.tolist(), result.detection_scores.tolist(), result.boxes.tolist(),
        result.masks, strict=True,
    )
    return [
        {
            'image_id': picture, 'category_id': category_of_class[number], 'score': score,
            'bbox': [x_min, y_min, x_max - x_min, y_max - y_min],
            'segmentation': coco_mask.encode(
                np.asfortranarray(mask.to_full(*size), dtype=np.uint8)
            ),
        }
        for number, score, (x_min, y_min, x_max, y_max), mask in rows
        if number in category_of_class
    ]


def score_pictures(
    annotations: PictureAnnotations, detections: Sequence[Mapping[str, Any]],
    recall_score: float,
) -> PictureScores:
    """
    Score detections of all pictures, as detections_of returns them.

    recall_score: detections from here on count in the recall, which is the share of the objects
    whose mask one of the right class overlaps by half.
    """
    strong = [d for d in detections if d['score'] >= recall_score]
    found, objects = _found(_evaluated(annotations, strong, 'segm'))
    return PictureScores(
        _summary(annotations, detections, 'bbox'), _summary(annotations, detections, 'segm'),
        found / objects if objects else float('nan'), objects,
    )


def _summary(
    annotations: PictureAnnotations, detections: Sequence[Mapping[str, Any]], kind: Kind
) -> PictureSummary:
    evaluated = _evaluated(annotations, detections, kind)
    # [IoU, recall, category, area, most detections]; -1 where nothing is defined.
    precision = evaluated.eval['precision'][..., -1]

    def average(values: npt.NDArray[np.float64]) -> float:
        defined = values[values > -1]
        return float(defined.mean()) if defined.size else float('nan')

    each = {
        annotations.categories[number]: average(precision[:, :, row, 0])
        for row, number in enumerate(evaluated.params.catIds)
    }
    return PictureSummary(
        average(precision[..., 0]), average(precision[0, ..., 0]), average(precision[5, ..., 0]),
        average(precision[..., 1]), average(precision[..., 2]), average(precision[..., 3]),
        {name: ap for name, ap in each.items() if ap == ap},
    )


def _found(evaluated: COCOeval) -> tuple[int, int]:
    """Return how many objects are found at the lowest IoU, of any size, and how many count."""
    every = evaluated.params.areaRng[0]
    entries = [e for e in evaluated.evalImgs if e is not None and e['aRng'] == every]
    counting = [~np.asarray(e['gtIgnore'], np.bool_) for e in entries]
    first = int(np.flatnonzero(np.isclose(evaluated.params.iouThrs, _FOUND_IOU))[0])
    matched = [np.asarray(e['gtMatches'])[first] > 0 for e in entries]
    found = sum(int((m & c).sum()) for m, c in zip(matched, counting, strict=True))
    return found, sum(int(c.sum()) for c in counting)


def _evaluated(
    annotations: PictureAnnotations, detections: Iterable[Mapping[str, Any]], kind: Kind
) -> COCOeval:
    numbered = [dict(d) for d in detections]
    with _silence():
        results = annotations.coco.loadRes(numbered) if numbered else COCO()
        evaluated = COCOeval(annotations.coco, results, kind)
        evaluated.params.imgIds = [picture.id for picture in annotations.pictures]
        evaluated.evaluate()
        evaluated.accumulate()
    return evaluated


def _silence() -> contextlib.AbstractContextManager[Any]:
    # pycocotools tells its progress on the standard output.
    return contextlib.redirect_stdout(io.StringIO())
