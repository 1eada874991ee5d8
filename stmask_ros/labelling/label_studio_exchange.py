# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Label Studio's JSON: a task for each picture, brush masks as predictions, annotations read.

Its brush runs are the bits of rle-pack: of the numbers red, green, blue, alpha of all pixels.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stmask_ros.evaluation.dataset import DatasetError
from stmask_ros.evaluation.long_lists import LongList, in_blocks
from stmask_ros.evaluation.records import Record, json_document
from stmask_ros.evaluation.rle import Rle
from stmask_ros.labelling.exchange import Found, FoundObject, Picture, Pictures, masks_at, told_id
from stmask_ros.labelling.folder import Labels, decoded, encoded
from stmask_ros.labelling.outlines import SegmentationError, filled
from stmask_ros.masks import BoolArray
from stmask_ros.output_files import write_whole

_ID = re.compile(r'track[- ](\d+)')
_CHANNELS = 4
_RUN_BITS = (3, 4, 8, 16)
_CONFIGURATION = """<View>
  <Image name="image" value="$image" zoom="true"/>
  <BrushLabels name="mask" toName="image">
{labels}  </BrushLabels>
  <PolygonLabels name="polygon" toName="image">
{labels}  </PolygonLabels>
</View>
"""


def write_label_studio(folder: Path, labels: Labels, images: str) -> None:
    """
    Write tasks.json, for import, and labels.xml, the labelling configuration of a new project.

    images: address of the folder of pictures as Label Studio sees it, with a slash at its end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tasks = [_task(labels, picture, images) for picture in Pictures.of(labels)]
    write_whole(folder / 'tasks.json', json.dumps(tasks))
    names = [_escaped(each.name) for each in labels.categories]
    entries = ''.join(f'    <Label value="{name}"/>\n' for name in names)
    write_whole(folder / 'labels.xml', _CONFIGURATION.format(labels=entries))


def _escaped(name: str) -> str:
    return name.replace('&', '&amp;').replace('<', '&lt;').replace('"', '&quot;')


def _task(labels: Labels, picture: Picture, images: str) -> dict[str, Any]:
    results = [
        _brush(track_id, labels.category(labels.track(track_id).category_id).name, mask)
        for track_id, mask in masks_at(labels, picture).items()
    ]
    return {
        'data': {'image': images + picture.file_name},
        'predictions': [{'model_version': 'stmask', 'result': results}],
    }


def _brush(track_id: int, name: str, mask: Rle) -> dict[str, Any]:
    height, width = mask['size']
    return {
        'id': f'track-{track_id}', 'type': 'brushlabels', 'from_name': 'mask',
        'to_name': 'image', 'original_width': width, 'original_height': height,
        'image_rotation': 0, 'meta': {'text': [f'track {track_id}']},
        'value': {'format': 'rle', 'rle': packed(decoded(mask)), 'brushlabels': [name]},
    }


def read_label_studio(path: Path, pictures: Pictures) -> Found:
    """
    Read an export; DatasetError or OSError.

    It is about the pictures whose task was annotated; what is only predicted is left out.
    """
    found: list[FoundObject] = []
    seen: set[int] = set()
    with json_document(path) as document:
        tasks = document if isinstance(document, list | LongList) else [document]
        for index, values in enumerate(each for block in in_blocks(tasks) for each in block):
            task = Record(values, f'{path}: task {index}')
            if (done := _submitted(task)) is not None:
                name = Record(task.values.get('data'), f'{task.where}, data').text('image')
                number = pictures.number(name.partition('?')[0])
                seen.add(number)
                found += _objects(done, number, pictures[number])
    if not seen:
        raise DatasetError(f'{path}: none of its tasks is annotated: submit them, export again')
    return Found(frozenset(seen), tuple(found))


def _submitted(task: Record) -> Record | None:
    """Return the last annotation of a task that was not skipped."""
    records = [Record(each, f'{task.where}, annotation') for each in task.items('annotations')]
    done = [record for record in records if not record.values.get('was_cancelled')]
    return done[-1] if done else None


def _objects(annotation: Record, number: int, picture: Picture) -> Iterator[FoundObject]:
    for index, values in enumerate(annotation.items('result')):
        result = Record(values, f'{annotation.where}, result {index}')
        kind = result.values.get('type')
        if kind not in ('brushlabels', 'polygonlabels'):
            continue
        value = Record(result.values.get('value'), f'{result.where}, value')
        width, height = result.integer('original_width'), result.integer('original_height')
        if (width, height) != (picture.width, picture.height):
            raise DatasetError(
                f'{result.where}: of a picture of {width}x{height} pixels, and '
                f'{picture.file_name} has {picture.width}x{picture.height}')
        try:
            read = _brush_mask if kind == 'brushlabels' else _polygon_mask
            mask = read(value, height, width)
        except (TypeError, ValueError, SegmentationError) as error:
            raise DatasetError(f'{result.where}: {error}') from error
        if mask is not None:
            yield FoundObject(
                number, ' '.join(value.texts(kind)[:1]), mask, _track_id(result.values))


def _track_id(values: dict[str, Any]) -> int | None:
    meta = values.get('meta')
    texts = meta.get('text') if isinstance(meta, dict) else None
    for text in (values.get('id'), *(texts if isinstance(texts, list) else [])):
        if told := _ID.fullmatch(str(text)):
            return told_id(told[1])
    return None


def _polygon_mask(value: Record, height: int, width: int) -> Rle | None:
    points = np.array(value.items('points'), np.float64).reshape(-1, 2) / 100
    return filled([(points * (width, height)).ravel().tolist()], height, width)


def _brush_mask(value: Record, height: int, width: int) -> Rle | None:
    numbers = unpacked(bytes(value.items('rle')), height * width * _CHANNELS)
    return encoded(numbers.reshape(height, width, _CHANNELS)[..., 3] > 0)


def packed(mask: BoolArray) -> list[int]:
    """Return a mask, bool [H, W], as brush runs, bytes 0 to 255."""
    flat = mask.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff(edges, prepend=0, append=flat.size) * _CHANNELS
    header = f'{flat.size * _CHANNELS:032b}{8 - 1:05b}' + ''.join(
        f'{bits - 1:04b}' for bits in _RUN_BITS)
    longest = 1 << _RUN_BITS[-1]
    bits = [header]
    for start, length in zip([0, *edges.tolist()], lengths.tolist(), strict=True):
        value = f'{255 if flat[start] else 0:08b}'
        whole, rest = divmod(length, longest)
        bits += [f'111{longest - 1:016b}{value}'] * whole
        bits += [f'111{rest - 1:016b}{value}'] * bool(rest)
    text = ''.join(bits)
    text += '0' * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, 'big'))


def unpacked(runs: bytes, expected: int) -> npt.NDArray[np.uint8]:
    """Return the numbers, uint8 [expected], of brush runs; ValueError if there are others."""
    reader = _Bits(runs)
    count, word = reader.number(32), reader.number(5) + 1
    sizes = [reader.number(4) + 1 for _ in range(4)]
    if word != 8 or count != expected:
        raise ValueError(
            f'expected brush runs of {expected} bytes, got {count} words of {word} bits')
    numbers = np.zeros(count, np.uint8)
    at = 0
    while at < count:
        is_run, size = reader.number(1), sizes[reader.number(2)]
        length = reader.number(size) + 1
        if is_run:
            numbers[at:at + length] = reader.number(word)
        else:
            values = [reader.number(word) for _ in range(length)]
            numbers[at:at + length] = values[:count - at]
        at += length
    return numbers


class _Bits:
    """Bytes read as numbers of so many bits."""

    def __init__(self, data: bytes) -> None:
        self._text = f'{int.from_bytes(data, "big"):0{8 * len(data)}b}'
        self._at = 0

    def number(self, bits: int) -> int:
        end = self._at + bits
        if end > len(self._text):
            raise ValueError('the brush runs break off')
        self._at, start = end, self._at
        return int(self._text[start:end], 2)
