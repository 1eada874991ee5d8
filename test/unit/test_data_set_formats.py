# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The files of other data sets give their videos, classes and objects, or name what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from stmask_ros.evaluation.annotations import load_annotations, read_frame
from stmask_ros.evaluation.coco_file import load_coco
from stmask_ros.evaluation.dataset import DatasetError

SIZE = (12, 16)


def text_of(top: int, height: int = 4) -> str:
    """Return the mask of a block as compressed run lengths."""
    mask = np.zeros(SIZE, np.uint8, order='F')
    mask[top:top + height, 3:9] = 1
    return str(coco_mask.encode(mask)['counts'].decode())


KITTI = [
    (4, 1001, 1, text_of(2)), (4, 2001, 2, text_of(7)), (6, 1001, 1, text_of(3)),
    (6, 10000, 10, text_of(0)),
]


def mots_text(lines: list[tuple[int, int, int, str]]) -> str:
    return ''.join(
        f'{frame} {number} {category} 12 16 {text}\n' for frame, number, category, text in lines)


@pytest.mark.parametrize('of_folder', [False, True])
def test_text_files_of_kitti_mots(tmp_path: Path, of_folder: bool) -> None:
    (tmp_path / 'instances_txt').mkdir()
    for name in ('0002.txt', '0010.txt')[:1 + of_folder]:
        (tmp_path / 'instances_txt' / name).write_text(mots_text(KITTI))
    path = tmp_path / 'instances_txt'
    annotations = load_annotations(path if of_folder else path / '0002.txt')
    assert annotations.has_classes
    assert not annotations.is_complete  # parts of the pictures are to be ignored
    dataset = annotations.dataset
    assert [video.name for video in dataset.videos] == ['0002', '0010'][:1 + of_folder]
    video = dataset.videos[0]
    assert (video.height, video.width) == SIZE
    assert video.file_names == tuple(f'0002/{frame:06}.png' for frame in (4, 5, 6))
    names = {category.id: category.name for category in dataset.categories}
    tracks = [track for track in dataset.tracks if track.video_id == video.id]
    assert [names[track.category_id] for track in tracks] == ['car', 'pedestrian']
    assert [track.sequence.areas.tolist() for track in tracks] == [[24, 0, 24], [24, 0, 0]]
    assert len({track.id for track in dataset.tracks}) == len(dataset.tracks)

    frame = np.full((*SIZE, 3), 90, np.uint8)
    (tmp_path / 'image_02' / '0002').mkdir(parents=True)
    cv2.imwrite(str(tmp_path / 'image_02' / '0002' / '000005.png'), frame)
    assert (read_frame(tmp_path / 'image_02', video.file_names[1], SIZE) == 90).all()


def test_the_text_file_of_a_video_of_mots_challenge(tmp_path: Path) -> None:
    (tmp_path / 'MOTS20-02' / 'gt').mkdir(parents=True)
    (tmp_path / 'MOTS20-02' / 'img1').mkdir()
    file = tmp_path / 'MOTS20-02' / 'gt' / 'gt.txt'
    file.write_text(mots_text([(1, 2007, 2, text_of(2))]))
    (video,) = load_annotations(file).dataset.videos
    cv2.imwrite(
        str(tmp_path / 'MOTS20-02' / 'img1' / '000001.jpg'), np.zeros((*SIZE, 3), np.uint8))
    assert read_frame(tmp_path / 'MOTS20-02', video.file_names[0], SIZE).shape == (*SIZE, 3)


@pytest.mark.parametrize(('line', 'complaint'), [
    ('4 1001 1 12 16', 'line 5: expected five whole numbers'),
    ('4 x 1 12 16 X18', 'line 5: expected five whole numbers'),
    ('0 0.5 0.5 0.1 0.2 0.3 0.4', 'line 5: expected five whole numbers'),
    ('-1 1001 1 12 16 X18', 'line 5: frame -1'),
    ('4 1003 3 12 16 X18', r'line 5: class 3 is none of \[1, 2\]'),
    ('4 1003 1 12 160 X18', r'line 5: an image of \[12, 160\], but of \[12, 16\]'),
    ('4 1003 1 999999 999999 X18', 'line 5: 999999x999999 is the size of no picture'),
    ('4 1001 1 12 16 X18', 'line 5: object 1001 is there already'),
    ('5 1001 2 12 16 X18', 'line 5: object 1001 is of class 2, but of 1 before'),
    ('5 1001 1 12 16 X', 'line 5: expected .* compressed RLE text'),
])
def test_a_wrong_line_is_named_or_left_out(
    tmp_path: Path, line: str, complaint: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / '0002.txt'
    file.write_text(mots_text(KITTI) + line + '\n')
    with pytest.raises(DatasetError, match=rf'0002\.txt: {complaint}'):
        load_annotations(file)
    tracks = load_annotations(file, skip_bad=True).dataset.tracks
    assert [track.sequence.areas.sum() for track in tracks] == [48, 24]
    assert 'left out 1 bad entries' in caplog.text


def burst() -> dict[str, Any]:
    return {
        'split': 'val',
        'categories': [{'id': 4, 'name': 'cat', 'synset': 'cat.n.01'}, {'id': 9, 'name': 'dog'}],
        'sequences': [{
            'id': 3, 'width': 16, 'height': 12, 'seq_name': 'cat-1', 'dataset': 'LaSOT', 'fps': 30,
            'all_image_paths': ['1.jpg', '2.jpg', '3.jpg'],
            'annotated_image_paths': ['1.jpg', '3.jpg'],
            'neg_category_ids': [], 'not_exhaustive_category_ids': [9],
            'track_category_ids': {'1': 4, '7': 9},
            'segmentations': [
                {'1': {'rle': text_of(2), 'is_gt': True}, '7': {'rle': text_of(7)}},
                {'7': {'rle': text_of(6), 'is_gt': False, 'score': 0.5}},
            ],
        }],
    }


def test_files_of_burst(tmp_path: Path) -> None:
    (tmp_path / 'all_classes.json').write_text(json.dumps(burst()))
    annotations = load_annotations(tmp_path / 'all_classes.json')
    assert annotations.has_classes
    assert not annotations.is_complete  # not all objects of all classes are annotated
    (video,) = annotations.dataset.videos
    assert video.file_names == ('LaSOT/cat-1/1.jpg', 'LaSOT/cat-1/3.jpg')
    assert video.name == 'LaSOT/cat-1'
    tracks = annotations.dataset.tracks
    assert [track.category_id for track in tracks] == [4, 9]
    assert [track.sequence.areas.tolist() for track in tracks] == [[24, 0], [24, 24]]
    assert annotations.category_of_class(['dog', 'cat']) == {1: 9, 2: 4}


@pytest.mark.parametrize(('change', 'complaint'), [
    (lambda s: s['track_category_ids'].pop('7'), "track_category_ids: '7' is missing"),
    (lambda s: s['track_category_ids'].update({'7': 5}), '5 is not among the categories'),
    (lambda s: s['segmentations'][1]['7'].update(rle='X'), "segmentations of '7': entry 1"),
    (lambda s: s['segmentations'].pop(), "'segmentations' has 1 entries, but there are 2"),
    (lambda s: s['segmentations'][1]['7'].update(rle=[1]), r"segmentations\[1\]: '7': 'rle'"),
])
def test_a_wrong_entry_of_burst_is_named(tmp_path: Path, change: Any, complaint: str) -> None:
    document = burst()
    change(document['sequences'][0])
    file = tmp_path / 'burst.json'
    file.write_text(json.dumps(document))
    with pytest.raises(DatasetError, match=rf'burst\.json: sequences\[0\].*{complaint}'):
        load_annotations(file)
    assert len(load_annotations(file, skip_bad=True).dataset.tracks) < 2


def test_pictures_of_roboflow(tmp_path: Path) -> None:
    """Category 0 stands for the whole project, annotations count from 0, names have a suffix."""
    name = 'frame_0001_jpg.rf.0123456789abcdef0123456789abcdef.jpg'
    (tmp_path / '_annotations.coco.json').write_text(json.dumps({
        'info': {'year': '2026'}, 'licenses': [],
        'categories': [{'id': 0, 'name': 'animals', 'supercategory': 'none'},
                       {'id': 1, 'name': 'cat', 'supercategory': 'animals'}],
        'images': [{'id': 0, 'license': 1, 'file_name': name, 'height': 12, 'width': 16,
                    'date_captured': '2026-01-01T00:00:00+00:00'}],
        'annotations': [{'id': 0, 'image_id': 0, 'category_id': 1, 'bbox': [3, 2, 6, 4],
                         'area': 24, 'segmentation': [[3, 2, 9, 2, 9, 6, 3, 6]], 'iscrowd': 0}],
    }))
    coco = load_coco(tmp_path / '_annotations.coco.json')
    (found,) = coco.objects.values()
    assert coco.categories[found.category_id].name == 'cat'
    assert coco_mask.area(found.mask) == 24
    cv2.imwrite(str(tmp_path / name), np.zeros((*SIZE, 3), np.uint8))
    file_name = coco.pictures[found.picture_id].file_name
    assert read_frame(tmp_path, file_name, SIZE).shape == (*SIZE, 3)


def test_frames_of_every_kind_are_read_as_the_camera_node_reads_them(tmp_path: Path) -> None:
    deep = np.full((*SIZE, 3), 30_000, np.uint16)
    cv2.imwrite(str(tmp_path / 'deep.png'), deep)
    assert (read_frame(tmp_path, 'deep.png') == round(30_000 * 255 / 65535)).all()
    grey = np.full(SIZE, 70, np.uint8)
    for suffix in ('png', 'tiff', 'webp', 'bmp', 'jpg'):
        cv2.imwrite(str(tmp_path / f'grey.{suffix}'), grey)
        assert read_frame(tmp_path, f'grey.{suffix}').shape == (*SIZE, 3)
    whole = (tmp_path / 'grey.jpg').read_bytes()
    (tmp_path / 'trailer.jpg').write_bytes(whole + b'\0' * 40 + b'a video of a phone')
    assert (read_frame(tmp_path, 'trailer.jpg') == read_frame(tmp_path, 'grey.jpg')).all()
    noise = np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)
    cv2.imwrite(str(tmp_path / 'cut.jpg'), noise)
    (tmp_path / 'cut.jpg').write_bytes((tmp_path / 'cut.jpg').read_bytes()[:-2000])
    with pytest.raises(DatasetError, match=r'cut\.jpg: not a readable picture: .* cut off'):
        read_frame(tmp_path, 'cut.jpg')
