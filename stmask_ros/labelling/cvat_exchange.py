# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
CVAT's XML for video, version 1.1: tracks of polygons, read with masks and boxes as well.

CVAT gives tracks new numbers; the id travels as an attribute that the labels have to declare.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from stmask_ros.evaluation.dataset import DatasetError
from stmask_ros.evaluation.rle import Rle
from stmask_ros.labelling.exchange import Found, FoundObject, Picture, Pictures, told_id
from stmask_ros.labelling.folder import Labels, LabelTrack, decoded, encoded
from stmask_ros.labelling.outlines import SegmentationError, filled, outline_of
from stmask_ros.output_files import whole_file, write_whole

_TRACK = 'track_id'
_SHAPES = ('polygon', 'mask', 'box')


def write_cvat(folder: Path, labels: Labels) -> None:
    """
    Write annotations.xml, for upload, and labels.json, for the raw editor of a new task's labels.

    The frames of the task are the folder's pictures in the order of their names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    root = ET.Element('annotations')
    ET.SubElement(root, 'version').text = '1.1'
    pictures = Pictures.of(labels)
    _add_meta(root, labels, len(pictures))
    numbers = {(each.video_id, each.frame): n for n, each in enumerate(pictures)}
    for track in labels.tracks:
        _add_track(root, track, labels, numbers)
    ET.indent(root)
    with whole_file(folder / 'annotations.xml') as part:
        ET.ElementTree(root).write(part, encoding='utf-8', xml_declaration=True)
    write_whole(folder / 'labels.json', json.dumps(
        [_label(each.name) for each in labels.categories], indent=2))


def _label(name: str) -> dict[str, Any]:
    attribute = {
        'name': _TRACK, 'input_type': 'text', 'mutable': False, 'values': [''],
        'default_value': '',
    }
    return {'name': name, 'type': 'any', 'attributes': [attribute]}


def _add_meta(root: ET.Element, labels: Labels, count: int) -> None:
    task = ET.SubElement(ET.SubElement(root, 'meta'), 'task')
    ET.SubElement(task, 'size').text = str(count)
    ET.SubElement(task, 'mode').text = 'interpolation'
    names = ET.SubElement(task, 'labels')
    for each in labels.categories:
        label = ET.SubElement(names, 'label')
        ET.SubElement(label, 'name').text = each.name
    if labels.videos:
        size = ET.SubElement(task, 'original_size')
        ET.SubElement(size, 'width').text = str(labels.videos[0].width)
        ET.SubElement(size, 'height').text = str(labels.videos[0].height)


def _add_track(
    root: ET.Element, track: LabelTrack, labels: Labels, numbers: dict[tuple[int, int], int]
) -> None:
    """Write the polygon of each frame, and where the track ends or pauses, the last one again."""
    name = labels.category(track.category_id).name
    element = ET.SubElement(root, 'track', id=str(track.id), label=name, source='auto')
    last: str | None = None
    was_shown = False
    for frame, mask in enumerate(track.masks):
        outline = outline_of(decoded(mask)) if mask is not None else None
        if outline is not None:
            last = ';'.join(f'{x:.2f},{y:.2f}' for x, y in outline.tolist())
        if last is not None and (outline is not None or was_shown):
            shape = ET.SubElement(
                element, 'polygon', frame=str(numbers[track.video_id, frame]), keyframe='1',
                outside=str(int(outline is None)), occluded='0', points=last, z_order='0')
            ET.SubElement(shape, 'attribute', name=_TRACK).text = str(track.id)
        was_shown = outline is not None
    if last is None:
        root.remove(element)


def read_cvat(path: Path, pictures: Pictures) -> Found:
    """Read an export, which is about all frames of its task; DatasetError or OSError."""
    try:
        root = ET.parse(path).getroot()
    except ET.ParseError as error:
        raise DatasetError(f'{path}: not an XML file: {error}') from error
    tracks = root.findall('track')
    if root.tag != 'annotations' or (not tracks and root.find('image') is not None):
        raise DatasetError(
            f"{path}: expected CVAT's XML for video 1.1, with tracks: choose it at the export")
    size = root.findtext('.//size') or str(len(pictures))
    if size != str(len(pictures)):
        raise DatasetError(
            f'{path}: a task of {size:.9} frames, and the folder has {len(pictures)} pictures')
    return Found(frozenset(range(len(pictures))), tuple(
        each for track in tracks for each in _objects(path, track, pictures)))


def _objects(path: Path, track: ET.Element, pictures: Pictures) -> Iterator[FoundObject]:
    name, group = track.get('label', ''), f'track {track.get("id")}'
    told = {a.text for a in track.iter('attribute') if a.get('name') == _TRACK and a.text}
    track_id = told_id(told.pop()) if len(told) == 1 else None
    for shape in track:
        if shape.tag not in _SHAPES or shape.get('outside') == '1':
            continue
        try:
            number = int(shape.get('frame', '-1'))
            if not 0 <= number < len(pictures):
                raise ValueError(f'the folder has {len(pictures)} pictures')
            mask = _mask(shape, pictures[number])
        except (KeyError, ValueError, SegmentationError) as error:
            raise DatasetError(
                f'{path}: {group}, frame {shape.get("frame")}: {error}') from error
        if mask is not None:
            yield FoundObject(number, name, mask, track_id, group)


def _mask(shape: ET.Element, picture: Picture) -> Rle | None:
    values = shape.attrib
    if shape.tag == 'mask':
        return _of_runs(values, picture)
    if shape.tag == 'box':
        left, top, right, bottom = (float(values[n]) for n in ('xtl', 'ytl', 'xbr', 'ybr'))
        points = [left, top, right, top, right, bottom, left, bottom]
    else:
        points = [float(v) for pair in values['points'].split(';') for v in pair.split(',')]
    return filled([points], picture.height, picture.width)


def _of_runs(values: dict[str, str], picture: Picture) -> Rle | None:
    """Return a mask whose runs go row by row through its box, the first one outside of it."""
    left, top, width, height = (int(values[n]) for n in ('left', 'top', 'width', 'height'))
    runs = np.array([int(run) for run in values['rle'].split(',')])
    inside = min(left, top, width, height) >= 0 and (
        left + width <= picture.width and top + height <= picture.height)
    # Looked at one by one before they are added up: a sum can be made to wrap.
    if not inside or ((runs < 0) | (runs > width * height)).any() or (
            runs.sum() != width * height):
        raise ValueError(f'its runs do not fill a box in {picture.width}x{picture.height} pixels')
    mask = np.zeros((picture.height, picture.width), bool)
    pixels = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    mask[top:top + height, left:left + width] = pixels.reshape(height, width)
    return encoded(mask)
