# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Broken annotation files by the thousand: read, or one sentence that names file and entry."""

from __future__ import annotations

import copy
import io
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from stmask_ros.evaluation.annotations import load_annotations, read_frame
from stmask_ros.evaluation.coco_file import load_coco
from stmask_ros.evaluation.dataset import DatasetError, load_dataset, load_predictions

SQUARE = [2, 2, 10, 2, 10, 10, 2, 10]
RLE = {'size': [12, 16], 'counts': [40, 8, 144]}
TEXT_RLE = {'size': [12, 16], 'counts': 'X18'}
TRUTH: dict[str, Any] = {
    'videos': [
        {'id': n, 'width': 16, 'height': 12, 'length': 2,
         'file_names': [f'{n}/0.jpg', f'{n}/1.jpg']}
        for n in (1, 2)
    ],
    'categories': [{'id': 1, 'name': 'cat'}, {'id': 2, 'name': 'dog'}],
    'annotations': [
        {'id': n, 'video_id': 1 + n % 2, 'category_id': 1 + n % 2, 'iscrowd': 0,
         'areas': [8, None], 'bboxes': [[0, 0, 4, 2], None], 'segmentations': [mask, None]}
        for n, mask in enumerate(([SQUARE], RLE, [SQUARE, SQUARE]))
    ],
}
RESULTS: list[dict[str, Any]] = [
    {'video_id': 1, 'category_id': 1, 'score': 0.5, 'segmentations': [RLE, None]},
    {'video_id': 2, 'category_id': 2, 'score': 0.25, 'segmentations': [None, [SQUARE]]},
]
COCO: dict[str, Any] = {
    'images': [{'id': n, 'file_name': f'{n}.jpg', 'height': 12, 'width': 16} for n in (0, 1)],
    'categories': [{'id': 0, 'name': 'cat', 'supercategory': 'animal'}, {'id': 5, 'name': 'dog'}],
    'annotations': [
        {'id': n, 'image_id': n % 2, 'category_id': 5 * (n % 2), 'bbox': [2, 2, 8, 8], 'area': 64,
         'iscrowd': 0, 'segmentation': mask}
        for n, mask in enumerate(([SQUARE], RLE, [SQUARE]))
    ],
}
BURST: dict[str, Any] = {
    'split': 'val',
    'categories': [{'id': 4, 'name': 'cat', 'synonyms': ['cat']}, {'id': 9, 'name': 'dog'}],
    'sequences': [
        {'id': n, 'width': 16, 'height': 12, 'seq_name': f's{n}', 'dataset': 'LaSOT', 'fps': 1,
         'all_image_paths': ['0.jpg', '1.jpg', '2.jpg'], 'neg_category_ids': [],
         'not_exhaustive_category_ids': [], 'annotated_image_paths': ['0.jpg', '2.jpg'],
         'track_category_ids': {'1': 4, '7': 9},
         'segmentations': [
             {'1': {'rle': 'X18', 'is_gt': True}, '7': {'rle': 'X28', 'is_gt': True}},
             {'7': {'rle': 'X38', 'is_gt': False, 'score': 0.5}}]}
        for n in (3, 5)
    ],
}
ABSURD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 7, 10**9, 2**31, 2**63, -2**63, 10**40, 0.5, 1e300, float('nan'),
    float('inf'), '', 'x', '..', '/etc/passwd', 'a\0b', 'x' * 9000, '\ud800', [], {}, [[]], [None],
    [1, 2, 3], [[1, 2]], [[1, 2, 3, 4]], [[1, 2, 3, 4, 5]], [[1e9] * 6], [[float('nan')] * 6],
    [['a'] * 6], [[-5, -5, 400, -5, 400, 400]], {'size': [12, 16], 'counts': []},
    {'size': [12, 16], 'counts': [192, 10**12]}, {'size': [12, 16], 'counts': '\x00\xff'},
    {'size': [10**9, 10**9], 'counts': [10**18]}, {'size': [0, 0], 'counts': [0]},
    {'size': ['12', 16], 'counts': 'X'}, {'counts': [1]}, {'size': [12, 16], 'counts': [-1, 193]},
    {'size': [12, 16], 'counts': [1.5, 190.5]}, {'size': [12, 16], 'counts': None},
    [[0.0, 1.0] * 500],
)


def places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container of a document with every key of it."""
    keys = document.keys() if isinstance(document, dict) else range(len(document))
    for key in list(keys):
        yield document, key
        if isinstance(document[key], dict | list):
            yield from places(document[key])


def changed(document: Any, chance: random.Random) -> Any:
    """Return a document with one to three of its values taken out, doubled or made absurd."""
    document = copy.deepcopy(document)
    for _ in range(chance.randint(1, 3)):
        found = list(places(document))
        if not found:
            break
        holder, key = chance.choice(found)
        what = chance.randrange(8)
        if what == 0:
            del holder[key]
        elif what == 1 and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        elif what == 2:
            holder[key] = copy.deepcopy(chance.choice(found)[0])
        else:
            holder[key] = copy.deepcopy(chance.choice(ABSURD))
    return document


def broken(text: bytes, chance: random.Random) -> bytes:
    """Return a file with a few bytes changed, or cut off."""
    data = bytearray(text)
    if chance.random() < 0.3:
        return bytes(data[:chance.randrange(len(data))])
    for _ in range(chance.randint(1, 4)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data)


def encoded(document: Any) -> bytes:
    return json.dumps(document).encode()


def read_truth(path: Path, skip_bad: bool) -> object:
    return load_dataset(path, skip_bad)


def read_annotations(path: Path, skip_bad: bool) -> object:
    return load_annotations(path, skip_bad)


def read_results(path: Path, skip_bad: bool) -> object:
    truth = path.with_name('truth.json')
    truth.write_bytes(encoded(TRUTH))
    return load_predictions(path, load_dataset(truth), skip_bad)


def read_coco(path: Path, skip_bad: bool) -> object:
    return load_coco(path, skip_bad)


def refusal_of(read: Callable[[Path, bool], object], path: Path, skip_bad: bool) -> str:
    try:
        read(path, skip_bad)
    except DatasetError as error:
        return str(error)
    return ''


READERS: dict[str, tuple[Any, Callable[[Path, bool], object]]] = {
    'videos': (TRUTH, read_truth), 'results': (RESULTS, read_results),
    'pictures': (COCO, read_coco), 'BURST': (BURST, read_annotations),
}


@pytest.mark.parametrize('kind', READERS)
@pytest.mark.parametrize('mutate', ['values', 'bytes'])
def test_a_broken_file_is_one_sentence(
    tmp_path: Path, long: bool, kind: str, mutate: str
) -> None:
    document, read = READERS[kind]
    count = 5000 if long else 250
    chance = random.Random(f'{kind} {mutate}')
    path = tmp_path / 'fuzzed.json'
    outcomes = {'read': 0, 'refused': 0}
    for _ in range(count):
        path.write_bytes(
            encoded(changed(document, chance)) if mutate == 'values'
            else broken(encoded(document), chance))
        for skip_bad in (False, True):
            refusal = refusal_of(read, path, skip_bad)
            outcomes['refused' if refusal else 'read'] += 1
            assert not refusal or 'fuzzed.json' in refusal
            assert len(refusal) < 500
            assert '\n' not in refusal
    assert outcomes['refused'] > count // 10
    assert outcomes['read']


MOTS = b''.join(
    b'%d %d %d 12 16 X%d8\n' % (frame, 1000 * kind + kind, kind, kind)
    for frame in range(4) for kind in (1, 2)) + b'3 10000 10 12 16 X48\n'


def test_a_broken_text_is_one_sentence(tmp_path: Path, long: bool) -> None:
    count = 5000 if long else 500
    chance = random.Random('text')
    path = tmp_path / 'fuzzed.txt'
    outcomes = {'read': 0, 'refused': 0}
    for _ in range(count):
        path.write_bytes(broken(MOTS, chance))
        for skip_bad in (False, True):
            refusal = refusal_of(read_annotations, path, skip_bad)
            outcomes['refused' if refusal else 'read'] += 1
            assert not refusal or 'fuzzed.txt' in refusal
            assert len(refusal) < 500
            assert '\n' not in refusal
    assert min(outcomes.values()) > count // 10


def mask_file(kind: str) -> bytes:
    objects = np.zeros((12, 16), np.uint16 if kind == '16 bits' else np.uint8)
    objects[2:6, 3:9] = 1
    picture = PIL.Image.fromarray(objects)
    if kind == 'palette':
        picture = PIL.Image.fromarray(objects, 'P')
        picture.putpalette([0, 0, 0, 128, 0, 0])
    file = io.BytesIO()
    picture.save(file, 'TIFF' if kind == 'TIFF' else 'PNG')
    return file.getvalue()


@pytest.mark.parametrize('kind', ['grey', '16 bits', 'palette', 'TIFF'])
def test_a_broken_picture_is_one_sentence(tmp_path: Path, long: bool, kind: str) -> None:
    """As a mask, and as a frame."""
    count = 2500 if long else 100
    chance, whole = random.Random(kind), mask_file(kind)
    (tmp_path / 'video').mkdir()
    path = tmp_path / 'video' / 'fuzzed.png'
    readers = [read_annotations, lambda folder, _: read_frame(folder, 'video/fuzzed.png')]
    refused = 0
    for _ in range(count):
        path.write_bytes(broken(whole, chance))
        for read in readers:
            refusal = refusal_of(read, tmp_path, False)
            refused += bool(refusal)
            assert not refusal or 'fuzzed.png' in refusal
            assert len(refusal) < 500
            assert '\n' not in refusal
    assert refused > count // 10


@pytest.mark.parametrize('kind', [kind for kind in READERS if kind != 'BURST'])
def test_what_is_whole_is_read_beside_what_is_bad(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    document, read = READERS[kind]
    entries = copy.deepcopy(document if isinstance(document, list) else document['annotations'])
    entries[0]['category_id'] = float('nan')
    entries[1].pop('image_id' if kind == 'pictures' else 'video_id')
    whole = entries if isinstance(document, list) else document | {'annotations': entries}
    path = tmp_path / 'bad.json'
    path.write_bytes(encoded(whole))
    with pytest.raises(DatasetError, match=r'bad\.json: \w+\[[01]\].*_id'):
        read(path, False)
    caplog.clear()
    found: Any = read(path, True)
    left = found if kind == 'results' else getattr(found, 'tracks', None) or found.objects
    assert len(left) == len(entries) - 2
    assert 'left out 2 bad entries; the first: ' in caplog.text
    assert 'bad.json' in caplog.text


def test_a_byte_order_mark_is_no_matter(tmp_path: Path) -> None:
    (tmp_path / 'a.json').write_bytes(b'\xef\xbb\xbf' + encoded(TRUTH))
    assert len(load_dataset(tmp_path / 'a.json').tracks) == 3
