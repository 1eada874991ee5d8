# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""COCO JSON as Roboflow, CVAT and others import and export it, with the track's id beside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask

from stmask_ros.evaluation.coco_file import CocoFile, parse_coco, whole_document
from stmask_ros.evaluation.dataset import DatasetError
from stmask_ros.labelling.exchange import Found, FoundObject, Picture, Pictures, masks_at, told_id
from stmask_ros.labelling.folder import Labels, decoded
from stmask_ros.labelling.outlines import polygons_of
from stmask_ros.output_files import write_whole

_TRACK = 'track_id'


def write_coco(path: Path, labels: Labels) -> None:
    """Write all pictures and masks, as polygons: Roboflow and others take no other masks."""
    pictures = Pictures.of(labels)
    annotations: list[dict[str, Any]] = []
    for number, picture in enumerate(pictures):
        for track_id, mask in masks_at(labels, picture).items():
            polygons = [part.ravel().tolist() for part in polygons_of(decoded(mask))]
            annotations.append({
                'id': len(annotations) + 1, 'image_id': number + 1,
                'category_id': labels.track(track_id).category_id,
                'segmentation': polygons, 'area': int(coco_mask.area(mask)),
                'bbox': coco_mask.toBbox(mask).tolist(), 'iscrowd': 0,
                _TRACK: track_id, 'attributes': {_TRACK: track_id},
            })
    write_whole(path, json.dumps({
        'images': [_entry(n, picture) for n, picture in enumerate(pictures, 1)],
        'categories': [{'id': c.id, 'name': c.name} for c in labels.categories],
        'annotations': [each for each in annotations if each['segmentation']],
    }))


def _entry(number: int, picture: Picture) -> dict[str, Any]:
    return {
        'id': number, 'file_name': picture.file_name, 'width': picture.width,
        'height': picture.height,
    }


def read_coco(path: Path, pictures: Pictures) -> Found:
    """Read an export, which is about the pictures that it lists; DatasetError or OSError."""
    document = whole_document(path)
    coco = parse_coco(document, str(path))
    if not coco.pictures:
        raise DatasetError(f'{path}: lists no picture: export with what was labelled')
    numbers = {each.id: _number(each.id, coco, pictures) for each in coco.pictures.values()}
    ids = {entry['id']: _track_id(entry) for entry in document['annotations']}
    return Found(frozenset(numbers.values()), tuple(
        FoundObject(
            numbers[each.picture_id], coco.categories[each.category_id].name, each.mask,
            ids[each.id])
        for each in coco.objects.values()
    ))


def _number(picture_id: int, coco: CocoFile, pictures: Pictures) -> int:
    picture = coco.pictures[picture_id]
    number = pictures.number(picture.file_name)
    known = pictures[number]
    if (picture.height, picture.width) != (known.height, known.width):
        raise DatasetError(
            f'{picture.file_name}: exported at {picture.width}x{picture.height} pixels, and the '
            f'picture has {known.width}x{known.height}: export without resizing')
    return number


def _track_id(entry: dict[str, Any]) -> int | None:
    attributes = entry.get('attributes')
    value = entry.get(_TRACK)
    if value is None and isinstance(attributes, dict):
        value = attributes.get(_TRACK)
    return told_id(value)
