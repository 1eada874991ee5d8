# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Labels go to other tools and come back, as those tools write them, with their ids."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from stmask_ros.evaluation.dataset import Category, DatasetError
from stmask_ros.labelling.coco_exchange import read_coco, write_coco
from stmask_ros.labelling.cvat_exchange import read_cvat, write_cvat
from stmask_ros.labelling.exchange import Found, FoundObject, Pictures, merged
from stmask_ros.labelling.folder import (
    LabelFrame,
    Labels,
    LabelTrack,
    LabelVideo,
    decoded,
    encoded,
)
from stmask_ros.labelling.label_studio_exchange import (
    packed,
    read_label_studio,
    unpacked,
    write_label_studio,
)
from stmask_ros.labelling.mask_exchange import read_masks, write_masks
from stmask_ros.labelling.outlines import filled, outline_of
from stmask_ros.labelling.yolo_exchange import read_yolo, write_yolo

HEIGHT, WIDTH = 120, 160


def disc(x: int, y: int, radius: int) -> np.ndarray:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius ** 2


def labels_before() -> Labels:
    """Return two tracks of two classes over three frames; the second pauses in the middle."""
    frames = tuple(LabelFrame(f'{n:06d}.jpg', n) for n in (0, 12, 31))
    first = tuple(encoded(disc(40 + 5 * n, 50, 20)) for n in range(3))
    second = (encoded(disc(110, 70, 30)), None, encoded(disc(115, 70, 30)))
    return Labels(
        (LabelVideo(1, HEIGHT, WIDTH, frames),),
        (Category(1, 'pallet'), Category(4, 'charging dock & co')),
        (LabelTrack(3, 1, 1, first), LabelTrack(7, 1, 4, second)))


def through_coco(labels: Labels, folder: Path) -> Found:
    write_coco(folder / 'a.json', labels)
    return read_coco(folder / 'a.json', Pictures.of(labels))


def through_yolo(labels: Labels, folder: Path) -> Found:
    write_yolo(folder / 'yolo', labels, '../images')
    return read_yolo(folder / 'yolo', Pictures.of(labels))


def through_cvat(labels: Labels, folder: Path) -> Found:
    write_cvat(folder, labels)
    return read_cvat(folder / 'annotations.xml', Pictures.of(labels))


def through_label_studio(labels: Labels, folder: Path) -> Found:
    write_label_studio(folder, labels, '/data/images/')
    path = folder / 'tasks.json'
    tasks = json.loads(path.read_text())
    for task in tasks:  # submitted by a person
        task['annotations'] = [{'result': task['predictions'][0]['result']}]
    path.write_text(json.dumps(tasks))
    return read_label_studio(path, Pictures.of(labels))


def through_masks(labels: Labels, folder: Path) -> Found:
    write_masks(folder / 'masks', labels)
    return read_masks(folder / 'masks', Pictures.of(labels))


ALL = (through_coco, through_yolo, through_cvat, through_label_studio, through_masks)


def iou(first: Any, second: Any) -> float:
    return float(coco_mask.iou([first], [second], [0])[0, 0])


def test_a_mask_that_is_taken_away_is_carried_no_farther() -> None:
    labels = labels_before()
    first = replace(labels.tracks[0], carrying={0: 1, 1: 3})
    found = Found(frozenset({0}), ())
    after = merged(replace(labels, tracks=(first,)), found)
    assert after.track(3).carrying == {1: 3}


@pytest.mark.parametrize('through', ALL)
def test_what_goes_out_comes_back(
    through: Callable[[Labels, Path], Found], tmp_path: Path
) -> None:
    before = labels_before()
    after = merged(before, through(before, tmp_path))
    assert [(t.id, t.category_id) for t in after.tracks] == [(3, 1), (7, 4)]
    assert after.categories == before.categories
    assert all(frame.is_labelled for frame in after.videos[0].frames)
    for old, new in zip(before.tracks, after.tracks, strict=True):
        for mask, again in zip(old.masks, new.masks, strict=True):
            assert (mask is None) == (again is None)
            assert mask is None or iou(mask, again) > 0.96


@pytest.mark.parametrize('through', [through_label_studio, through_masks])
def test_formats_of_pixels_lose_none(
    through: Callable[[Labels, Path], Found], tmp_path: Path
) -> None:
    before = labels_before()
    assert merged(before, through(before, tmp_path)).tracks == before.tracks


def test_one_outline_goes_around_all_parts() -> None:
    parts = disc(30, 40, 15) | disc(100, 60, 25) | disc(140, 20, 9)
    outline = outline_of(parts)
    assert outline is not None
    mask = filled([outline.ravel().tolist()], HEIGHT, WIDTH)
    assert mask is not None
    assert iou(mask, encoded(parts)) > 0.96


def test_brush_runs_are_those_of_rle_pack() -> None:
    mask = np.zeros((2, 3), bool)
    mask[0, 1:] = True
    text = ''.join(f'{byte:08b}' for byte in packed(mask))
    # 24 numbers of 8 bits; runs of 4 zeros, 8 times 255, 12 zeros with 16 bits of length.
    assert text.startswith(f'{24:032b}' + '00111' + '0010' + '0011' + '0111' + '1111')
    assert text[53:].startswith(f'111{3:016b}{0:08b}' + f'111{7:016b}{255:08b}')
    assert (unpacked(bytes(packed(mask)), 24)[::4] > 0).tolist() == mask.ravel().tolist()


def test_brush_runs_with_numbers_one_by_one() -> None:
    text = f'{8:032b}' + '00111' + '0010' + '0011' + '0111' + '1111'
    text += '000' + f'{3:03b}' + ''.join(f'{v:08b}' for v in (1, 2, 3, 255))  # not a run
    text += '100' + f'{3:03b}' + f'{9:08b}'
    text += '0' * (-len(text) % 8)
    runs = int(text, 2).to_bytes(len(text) // 8, 'big')
    assert unpacked(runs, 8).tolist() == [1, 2, 3, 255, 9, 9, 9, 9]
    with pytest.raises(ValueError, match='break off'):
        unpacked(runs[:-2], 8)


def test_polygons_of_label_studio_are_in_hundredths(tmp_path: Path) -> None:
    before = labels_before()
    value = {'points': [[25, 25], [50, 25], [50, 75], [25, 75]], 'polygonlabels': ['pallet']}
    path = tmp_path / 'export.json'
    path.write_text(json.dumps([
        {'data': {'image': '/data/upload/1/9ab8cd01-000012.jpg'}, 'predictions': [],
         'annotations': [{'result': [{
             'id': 'x9', 'type': 'polygonlabels', 'original_width': WIDTH,
             'original_height': HEIGHT, 'value': value}]}]},
        {'data': {'image': '/data/upload/1/9ab8cd01-000031.jpg'}, 'annotations': []},
    ]))
    found = read_label_studio(path, Pictures.of(before))
    assert found.pictures == {1}
    (each,) = found.objects
    box = coco_mask.toBbox(each.mask).tolist()
    assert box == [40, 30, 40, 60]


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><size>3</size></task></meta>
<track id="0" label="pallet" source="manual">
  <polygon frame="0" keyframe="1" outside="0" points="20,30;60,30;60,70;20,70"/>
  <polygon frame="1" keyframe="0" outside="0" points="25,30;65,30;65,70;25,70"/>
  <polygon frame="2" keyframe="1" outside="1" points="25,30;65,30;65,70;25,70"/>
</track>
<track id="1" label="dock" source="manual">
  <mask frame="2" keyframe="1" outside="0" rle="2, 2, 2" left="5" top="6" width="3" height="2"/>
</track>
<track id="2" label="charging dock &amp; co" source="manual">
  <box frame="0" keyframe="1" outside="0" xtl="85" ytl="45" xbr="135" ybr="95"/>
  <attribute name="color">red</attribute>
</track></annotations>"""


def test_what_cvat_writes_is_read(tmp_path: Path) -> None:
    before = labels_before()
    (tmp_path / 'a.xml').write_text(CVAT)
    found = read_cvat(tmp_path / 'a.xml', Pictures.of(before))
    assert found.pictures == {0, 1, 2}
    assert [each.picture for each in found.objects] == [0, 1, 2, 0]
    mask = decoded(found.objects[2].mask)
    assert np.argwhere(mask).tolist() == [[6, 7], [7, 5]]
    after = merged(before, found)
    # The first and the third cover tracks that were there; the second is new, of a new class.
    assert sorted((t.id, t.category_id) for t in after.tracks) == [(3, 1), (7, 4), (8, 5)]
    assert after.categories[-1] == Category(5, 'dock')


def test_pictures_are_found_by_what_tools_call_them() -> None:
    pictures = Pictures.of(labels_before())
    names = ('000012.jpg', 'images/000012.png', '/data/upload/3/0a1b2c3d-000012.jpg',
             '000012_jpg.rf.8f2e1c0b9a8d7e6f.jpg', 'x\\000012.txt')
    assert {pictures.number(name) for name in names} == {1}
    with pytest.raises(DatasetError, match='no picture of the folder'):
        pictures.number('000099.jpg')


def test_pictures_of_one_name_are_told_apart_by_their_folders() -> None:
    video = labels_before().videos[0]
    videos = tuple(
        replace(video, id=number, frames=(LabelFrame(f'{name}/000012.jpg'),))
        for number, name in enumerate(('a', 'b'), 1))
    pictures = Pictures.of(replace(labels_before(), videos=videos, tracks=()))
    assert [pictures.number(f'{name}/000012.png') for name in ('images/a', 'b')] == [0, 1]
    for name in ('000012.jpg', 'c/000012.jpg'):
        with pytest.raises(DatasetError, match='several pictures'):
            pictures.number(name)


@pytest.mark.parametrize('odd', [{'meta': [1]}, {'meta': {'text': None}}, {'meta': {'text': 5}}])
def test_notes_of_other_kinds_name_no_track(odd: dict[str, Any], tmp_path: Path) -> None:
    write_label_studio(tmp_path, labels_before(), '')
    document = json.loads((tmp_path / 'tasks.json').read_text())
    for task in document:
        task['annotations'] = task.pop('predictions')
        for result in task['annotations'][0]['result']:
            result.update(odd, id='x')
    (tmp_path / 'a.json').write_text(json.dumps(document))
    found = read_label_studio(tmp_path / 'a.json', Pictures.of(labels_before()))
    assert {each.track_id for each in found.objects} == {None}


def test_pictures_outside_an_export_stay_as_they_are(tmp_path: Path) -> None:
    before = labels_before()
    found = replace(through_masks(before, tmp_path), pictures=frozenset({0}), objects=())
    after = merged(before, found)
    assert [frame.is_labelled for frame in after.videos[0].frames] == [True, False, False]
    assert [mask is None for mask in after.tracks[0].masks] == [True, False, False]


def test_objects_of_a_new_track_stay_together() -> None:
    before = labels_before()
    spots = [encoded(disc(20, 100 - 3 * n, 8)) for n in range(3)]
    found = Found(frozenset({0, 1, 2}), tuple(
        FoundObject(n, 'cone', mask, None, 'track 5') for n, mask in enumerate(spots) if mask))
    (track,) = merged(before, found).tracks
    assert track.id == 8
    assert all(track.masks)


def mask(*numbers: int) -> Any:
    return encoded(disc(*numbers))


@pytest.mark.parametrize(('objects', 'words'), [
    ([FoundObject(0, 'pallet', mask(40, 50, 20), 3), FoundObject(0, 'pallet', mask(9, 9, 5), 3)],
     'track 3 is there 2 times'),
    ([FoundObject(0, 'pallet', mask(40, 50, 20), 3), FoundObject(1, 'dock', mask(40, 50, 20), 3)],
     'track 3 is of the classes dock, pallet'),
    ([FoundObject(0, 'pallet', mask(40, 50, 20), 3), FoundObject(0, 'dock', mask(40, 50, 20), 9)],
     'tracks 3 and 9 cover the same pixels'),
    ([FoundObject(0, '', mask(40, 50, 20), 9)], 'names no class for its object 9'),
])
def test_what_makes_no_sense_is_refused(objects: list[FoundObject], words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        merged(labels_before(), Found(frozenset({0, 1}), tuple(objects)))


def test_a_class_can_be_named_for_new_objects() -> None:
    found = Found(frozenset({0}), (FoundObject(0, '', mask(20, 100, 8), 9),))
    after = merged(labels_before(), found, 'cone')
    assert after.category(after.track(9).category_id).name == 'cone'


def resized_coco(folder: Path, pictures: Pictures) -> Found:
    write_coco(folder / 'a.json', labels_before())
    document = json.loads((folder / 'a.json').read_text())
    document['images'][1]['width'] //= 2
    document['annotations'] = []
    (folder / 'a.json').write_text(json.dumps(document))
    return read_coco(folder / 'a.json', pictures)


def resized_masks(folder: Path, pictures: Pictures) -> Found:
    cv2.imwrite(str(folder / '000012.png'), np.zeros((60, 80), np.uint8))
    return read_masks(folder, pictures)


def no_masks(folder: Path, pictures: Pictures) -> Found:
    return read_masks(folder, pictures)


def odd_yolo(folder: Path, pictures: Pictures) -> Found:
    (folder / 'labels').mkdir()
    (folder / 'data.yaml').write_text('names: [pallet]')
    (folder / 'labels' / '000012.txt').write_text('0 0.5 0.5 0.1 0.1\n')
    return read_yolo(folder, pictures)


def unknown_yolo_class(folder: Path, pictures: Pictures) -> Found:
    (folder / 'labels').mkdir()
    (folder / 'data.yaml').write_text('names: [pallet]')
    (folder / 'labels' / '000012.txt').write_text('7 0.1 0.1 0.4 0.1 0.4 0.4\n')
    return read_yolo(folder, pictures)


def no_pictures(folder: Path, pictures: Pictures) -> Found:
    (folder / 'a.json').write_text('{"images": [], "annotations": [], "categories": []}')
    return read_coco(folder / 'a.json', pictures)


def broken_xml(folder: Path, pictures: Pictures) -> Found:
    (folder / 'a.xml').write_text('<annotations><track>')
    return read_cvat(folder / 'a.xml', pictures)


def longer_task(folder: Path, pictures: Pictures) -> Found:
    (folder / 'a.xml').write_text(CVAT.replace('<size>3<', '<size>9<'))
    return read_cvat(folder / 'a.xml', pictures)


def broken_runs(folder: Path, pictures: Pictures) -> Found:
    (folder / 'a.xml').write_text(CVAT.replace('2, 2, 2', '2, 2, 9'))
    return read_cvat(folder / 'a.xml', pictures)


def runs_whose_sum_wraps(folder: Path, pictures: Pictures) -> Found:
    runs = ', '.join([str(1 << 62)] * 4 + ['6'])
    (folder / 'a.xml').write_text(CVAT.replace('2, 2, 2', runs))
    return read_cvat(folder / 'a.xml', pictures)


def size_that_is_none(folder: Path, pictures: Pictures) -> Found:
    (folder / 'a.xml').write_text(CVAT.replace('<size>3<', '<size>many<'))
    return read_cvat(folder / 'a.xml', pictures)


def yolo_that_is_no_text(folder: Path, pictures: Pictures) -> Found:
    (folder / 'labels').mkdir()
    (folder / 'data.yaml').write_text('names: [pallet]')
    (folder / 'labels' / '000012.txt').write_bytes(b'\xff\xfe 0 1 1 1 1 1')
    return read_yolo(folder, pictures)


def id_of_many_digits(folder: Path, pictures: Pictures) -> Found:
    write_coco(folder / 'a.json', labels_before())
    document = json.loads((folder / 'a.json').read_text())
    document['annotations'][0]['track_id'] = '9' * 5000
    (folder / 'a.json').write_text(json.dumps(document))
    return read_coco(folder / 'a.json', pictures)


def only_predicted(folder: Path, pictures: Pictures) -> Found:
    write_label_studio(folder, labels_before(), '')
    document = json.loads((folder / 'tasks.json').read_text())
    (folder / 'a.json').write_text(json.dumps([{**d, 'annotations': []} for d in document]))
    return read_label_studio(folder / 'a.json', pictures)


@pytest.mark.parametrize(('read', 'words'), [
    (no_pictures, 'lists no picture'),
    (resized_coco, 'exported at 80x120 pixels, and the picture has 160x120'),
    (resized_masks, '80x60 pixels, and 000012.jpg has 160x120'),
    (no_masks, 'expected mask pictures'),
    (odd_yolo, 'line 1: expected a class and a polygon'),
    (unknown_yolo_class, 'line 1: 7'),
    (broken_xml, 'not an XML file'),
    (longer_task, 'a task of 9 frames, and the folder has 3'),
    (broken_runs, 'track 1, frame 2: its runs do not fill'),
    (runs_whose_sum_wraps, 'track 1, frame 2: its runs do not fill'),
    (size_that_is_none, 'a task of many frames'),
    (yolo_that_is_no_text, 'line 1'),
    (id_of_many_digits, 'at most 18 digits'),
    (only_predicted, 'none of its tasks is annotated'),
])
def test_odd_exports_are_refused(
    read: Callable[[Path, Pictures], Found], words: str, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match=words):
        read(tmp_path, Pictures.of(labels_before()))
