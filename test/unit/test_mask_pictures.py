# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Mask pictures of every usual kind and tool give the same objects, or are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from stmask_ros.evaluation.annotations import load_annotations, read_frame
from stmask_ros.evaluation.dataset import DatasetError
from stmask_ros.evaluation.mask_pictures import read_mask_picture

# Two objects and the background.
OBJECTS = np.zeros((12, 16), np.uint8)
OBJECTS[2:6, 3:9] = 1
OBJECTS[5:11, 8:14] = 2
Image = PIL.Image.Image


def grey(first: int = 1, second: int = 2) -> Image:
    return PIL.Image.fromarray(np.choose(OBJECTS, [0, first, second]).astype(np.uint8))


def deep(first: int, second: int, rest: int = 0) -> Image:
    return PIL.Image.fromarray(np.choose(OBJECTS, [rest, first, second]).astype(np.uint16))


def palette(bits: int = 8) -> Image:
    picture = PIL.Image.fromarray(OBJECTS, 'P')
    picture.putpalette([0, 0, 0, 128, 0, 0, 128, 0, 0, *[9] * (3 * 2**bits - 9)])
    return picture


def colours(*values: tuple[int, ...]) -> Image:
    return PIL.Image.fromarray(np.array(values, np.uint8)[OBJECTS])


KINDS: dict[str, Callable[[], Image]] = {
    'numbers (DAVIS, YouTube-VOS)': grey,
    'palette': palette,
    'palette of equal colours and 4 bits': lambda: palette(4),
    'far apart': lambda: grey(127, 255),
    '16 bits': lambda: deep(300, 40_000),
    'KITTI-MOTS': lambda: deep(1001, 2001),
    'KITTI-MOTS with ignored pixels': lambda: deep(1001, 2001, rest=10_000),
    'MOTS of CVAT': lambda: deep(1001, 1002),
    'colours': lambda: colours((0, 0, 0), (255, 0, 0), (0, 255, 0)),
    'ids in the channels (panoptic)': lambda: colours((0, 0, 0), (1, 2, 0), (1, 3, 0)),
    'grey in three channels': lambda: colours((0, 0, 0), (1, 1, 1), (2, 2, 2)),
    'transparent': lambda: colours((0, 0, 0, 0), (255, 0, 0, 255), (0, 255, 0, 255)),
    'a transparent background of any colour': lambda: colours(
        (9, 9, 9, 0), (255, 0, 0, 255), (0, 255, 0, 255)),
}


@pytest.mark.parametrize('suffix', ['.png', '.tiff'])
@pytest.mark.parametrize('kind', KINDS)
def test_every_kind_gives_the_same_objects(tmp_path: Path, kind: str, suffix: str) -> None:
    picture = KINDS[kind]()
    (tmp_path / 'video').mkdir()
    for number in (0, 1):
        picture.save(tmp_path / 'video' / f'{number:05}{suffix}')
    annotations = load_annotations(tmp_path)
    tracks = annotations.dataset.tracks
    assert [track.sequence.areas.tolist() for track in tracks] == [
        [np.count_nonzero(number == OBJECTS)] * 2 for number in (1, 2)]
    labels = read_mask_picture(tmp_path / 'video' / f'00000{suffix}')
    assert ((labels > 0) == (OBJECTS > 0)).all()


def test_black_and_white_is_one_object(tmp_path: Path) -> None:
    for number, picture in enumerate((grey(255, 255), grey(255, 255).convert('1'))):
        (tmp_path / 'v').mkdir(exist_ok=True)
        picture.save(tmp_path / 'v' / f'{number}.png')
    (track,) = load_annotations(tmp_path).dataset.tracks
    assert track.sequence.areas.tolist() == [np.count_nonzero(OBJECTS)] * 2


def soft() -> Image:
    return PIL.Image.fromarray(cv2.GaussianBlur(
        cv2.resize(np.uint8(255) * (OBJECTS > 0), (160, 120)), (0, 0), 5))


AMBIGUOUS = {
    'soft edges': (soft, 'different values'),
    'soft edges in colours': (lambda: soft().convert('RGB'), 'different values'),
    'void': (lambda: PIL.Image.fromarray(np.choose(OBJECTS, [255, 1, 2]).astype(np.uint8)),
             '255 beside'),
    'half transparent': (lambda: colours((0, 0, 0, 9), (255, 0, 0, 255), (0, 255, 0, 255)),
                         'half transparent'),
    'numbers with points': (lambda: PIL.Image.fromarray(OBJECTS.astype(np.float32)), 'kind F'),
    'four inks': (lambda: PIL.Image.new('CMYK', (16, 12)), 'kind CMYK'),
    'below zero': (lambda: PIL.Image.fromarray(OBJECTS.astype(np.int32) - 1), '-1 to 1'),
}


@pytest.mark.parametrize('kind', AMBIGUOUS)
def test_what_may_mean_several_things_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    make, text = AMBIGUOUS[kind]
    (tmp_path / 'video').mkdir()
    grey().save(tmp_path / 'video' / '1.png')
    make().save(tmp_path / 'video' / '2.tiff')
    with pytest.raises(DatasetError, match=text) as caught:
        load_annotations(tmp_path)
    assert '2.tiff' in str(caught.value)


@pytest.mark.parametrize('other', [
    lambda: deep(1, 2), lambda: colours((0, 0, 0), (1, 1, 1), (2, 2, 2)),
    lambda: grey().resize((8, 6)),
])
def test_pictures_of_two_kinds_in_one_video_are_refused(
    tmp_path: Path, other: Callable[[], Image]
) -> None:
    (tmp_path / 'video').mkdir()
    grey().save(tmp_path / 'video' / '1.png')
    other().save(tmp_path / 'video' / '2.png')
    with pytest.raises(DatasetError, match=r'2\.png: .* but 1\.png has 16x12 pixels of 8 bits'):
        load_annotations(tmp_path)


def test_broken_mask_pictures_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / 'video').mkdir()
    for content in (b'', b'\x89PNG\r\n\x1a\n', b'GIF89a'):
        (tmp_path / 'video' / '1.png').write_bytes(content)
        with pytest.raises(DatasetError, match=r'1\.png: not a readable mask picture'):
            load_annotations(tmp_path)


@pytest.mark.parametrize('masks', [('1', '2', '10'), ('01', '2', '0010'), ('a1', 'a2', 'a10')])
@pytest.mark.parametrize('frames', [('1', '2', '10'), ('00001', '00002', '00010')])
def test_frames_and_masks_go_by_number_whatever_the_zeros(
    tmp_path: Path, masks: tuple[str, ...], frames: tuple[str, ...]
) -> None:
    prefix = masks[0].rstrip('01')
    for folder in ('masks/v', 'images/v'):
        (tmp_path / folder).mkdir(parents=True)
    for number, (mask, frame) in enumerate(zip(masks, frames, strict=True)):
        PIL.Image.fromarray(OBJECTS * (number == 2)).save(tmp_path / f'masks/v/{mask}.png')
        cv2.imwrite(str(tmp_path / f'images/v/{prefix}{frame}.png'),
                    np.full((12, 16, 3), number, np.uint8))
    (video,) = load_annotations(tmp_path / 'masks').dataset.videos
    shown = [read_frame(tmp_path / 'images', name)[0, 0, 0] for name in video.file_names]
    assert shown == [0, 1, 2]
    assert load_annotations(tmp_path / 'masks').dataset.tracks[0].sequence.areas[2] > 0


def test_two_pictures_of_one_number_are_ambiguous(tmp_path: Path) -> None:
    for name in ('01.png', '001.png'):
        cv2.imwrite(str(tmp_path / name), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(DatasetError, match=r'no such picture, but 001\.png, 01\.png'):
        read_frame(tmp_path, '1.jpg')


@pytest.mark.parametrize('name', [
    '/etc/hostname', '../secret.jpg', 'a/../../b.jpg', 'a\0b.jpg', '', '.', 'x' * 5000 + '.jpg',
])
def test_an_absurd_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError):
        read_frame(tmp_path, name)


def test_a_name_with_backslashes_is_one_of_windows(tmp_path: Path) -> None:
    (tmp_path / 'images').mkdir()
    cv2.imwrite(str(tmp_path / 'images/1.png'), np.full((4, 4, 3), 7, np.uint8))
    assert read_frame(tmp_path, 'images\\1.png')[0, 0, 0] == 7


def test_the_layouts_that_cvat_exports(tmp_path: Path) -> None:
    """MOTS: instances and images beside each other. Masks: objects beside their classes."""
    for folder in ('mots/train/instances', 'mots/train/images', 'masks/SegmentationObject',
                   'masks/SegmentationClass'):
        (tmp_path / folder).mkdir(parents=True)
    deep(1001, 1002).save(tmp_path / 'mots/train/instances/1.png')
    (tmp_path / 'mots/train/instances/labels.txt').write_text('car\n')
    cv2.imwrite(str(tmp_path / 'mots/train/images/1.jpg'), np.zeros((12, 16, 3), np.uint8))
    annotations = load_annotations(tmp_path / 'mots')
    assert len(annotations.dataset.tracks) == 2
    (video,) = annotations.dataset.videos
    assert read_frame(tmp_path / 'mots', video.file_names[0]).shape == (12, 16, 3)
    for folder in ('SegmentationObject', 'SegmentationClass'):
        KINDS['colours']().save(tmp_path / 'masks' / folder / '1.png')
    annotations = load_annotations(tmp_path / 'masks')
    assert [video.name for video in annotations.dataset.videos] == ['SegmentationObject']


def test_a_picture_that_is_annotated_upright_is_turned(tmp_path: Path) -> None:
    pixels = np.zeros((8, 24, 3), np.uint8)
    pixels[:, :12] = 200
    exif = PIL.Image.Exif()
    exif[274] = 6  # to be turned by 90 degrees
    PIL.Image.fromarray(pixels).save(tmp_path / '1.jpg', exif=exif, quality=95)
    assert read_frame(tmp_path, '1.jpg').shape == (8, 24, 3)
    assert read_frame(tmp_path, '1.jpg', (8, 24)).shape == (8, 24, 3)
    upright = read_frame(tmp_path, '1.jpg', (24, 8))
    assert upright[:10].mean() > 190
    assert upright[14:].mean() < 10
    with pytest.raises(DatasetError, match=r'1\.jpg: 24x8 pixels, .* are for 5x4'):
        read_frame(tmp_path, '1.jpg', (4, 5))
