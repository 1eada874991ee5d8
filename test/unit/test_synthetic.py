# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Synthetic clips, made of pictures that are drawn here."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from annotated_clip import crossing_shapes, rle, write_dataset, write_mask_folder
from pycocotools import mask as coco_mask

from stmask_ros.evaluation.annotations import load_annotations, read_frame
from stmask_ros.evaluation.dataset import DatasetError, load_dataset
from stmask_ros.training.clip_files import write_clips
from stmask_ros.training.compositing import Canvas, object_transform
from stmask_ros.training.cutouts import Library, coco_pictures, video_pictures
from stmask_ros.training.frames import AnnotatedFrame, ClassMap
from stmask_ros.training.synthetic import ClipConfig, ClipGenerator

CLASSES = ClassMap(('disc', 'thing'), {'sports': 'disc'}, 'thing')
SMALL = ClipConfig(height=96, width=160, frames=25, smallest_area=20)


def disc(colour: tuple[int, int, int]) -> AnnotatedFrame:
    """Return a disc of one colour on noise."""
    image = np.random.default_rng(sum(colour)).integers(0, 90, (120, 160, 3), np.uint8)
    mask = np.zeros((120, 160), np.uint8)
    cv2.circle(mask, (80, 60), 40, 1, -1)
    image[mask > 0] = colour
    return AnnotatedFrame(image, mask[None] > 0, np.array([1]), np.array([1]))


@pytest.fixture(scope='module')
def library() -> Library:
    found = Library.of([disc((250, 250, 20)), disc((20, 250, 250)), disc((250, 20, 250))])
    nothing = np.zeros(0, np.int64)
    image = np.random.default_rng(1).integers(0, 40, (120, 160, 3), np.uint8)
    empty = AnnotatedFrame(image, np.zeros((0, 120, 160), np.bool_), nothing, nothing)
    return Library(found.cutouts, (empty,))


def same(a: AnnotatedFrame, b: AnnotatedFrame) -> bool:
    return all(np.array_equal(getattr(a, n), getattr(b, n)) for n in a.__dataclass_fields__)


def test_a_seed_and_a_number_make_one_clip(library: Library) -> None:
    clips = [ClipGenerator(library, SMALL, seed=3).clip(5) for _ in range(2)]
    later = clips[1].frame(9)
    assert same(clips[0].frame(9), later)
    assert not same(clips[0].frame(8), later)
    assert not same(ClipGenerator(library, SMALL, seed=4).clip(5).frame(9), later)


@pytest.mark.parametrize('bars', [0, 3])
def test_masks_are_where_the_objects_are(library: Library, bars: int) -> None:
    plain = replace(
        SMALL, shutter=0, noise=0, quality=(100, 100), smallest_area=1, bars=(bars, bars)
    )
    checked = 0
    for number in range(6):
        frame = ClipGenerator(library, plain).clip(number).frame(12)
        bright = frame.image.max(2) > 95  # brighter than every background and bar
        visible = frame.masks.any(0)
        core = cv2.erode(visible.astype(np.uint8), np.ones((5, 5))) > 0
        around = cv2.dilate(visible.astype(np.uint8), np.ones((5, 5))) > 0
        assert not (bright & ~around).any()
        assert bright[core].all()
        checked += int(core.sum())
    assert checked > 5000


def test_objects_hide_leave_and_come_back(library: Library) -> None:
    generator = ClipGenerator(library, replace(SMALL, objects=(4, 5)))
    histories: list[str] = []
    for number in range(8):
        clip = generator.clip(number)
        frames = [clip.frame(index) for index in range(SMALL.frames)]
        assert all(frame.masks.sum(0).max(initial=0) <= 1 for frame in frames)
        ids = set().union(*(frame.ids.tolist() for frame in frames))
        histories += [''.join('x' if i in f.ids else '.' for f in frames) for i in ids]
    assert any('x.' in history for history in histories)
    assert any('x' in history.lstrip('x').lstrip('.') and history[0] == 'x'
               for history in histories)


def test_the_nearer_object_hides_the_farther() -> None:
    canvas = Canvas(40, 60)
    mask = np.ones((20, 20), np.bool_)
    for colour, x in ((200, 20.0), (100, 30.0)):
        pixels = np.full((20, 20, 3), colour, np.uint8)
        at = object_transform((20, 20), 20, 0, False, np.array([x, 20.0]))
        canvas.add(pixels, mask, at, 1.0, None)
    assert canvas.areas().tolist() == [200, 400]
    assert canvas.pixels[20, 15, 0] == 200
    assert canvas.pixels[20, 25, 0] == 100
    assert canvas.masks[1][10:30, 20:40].all()


def test_bars_hide_parts_of_the_same_objects_and_are_none(library: Library) -> None:
    hidden = 0
    for number in range(6):
        open_view, barred = (
            ClipGenerator(library, replace(SMALL, bars=bars)).clip(number).frame(12)
            for bars in ((0, 0), (3, 3))
        )
        assert set(barred.ids) <= set(open_view.ids)
        for mask, track in zip(barred.masks, barred.ids, strict=True):
            whole = open_view.masks[open_view.ids == track][0]
            assert not (mask & ~whole).any()
            hidden += int((whole & ~mask).sum())
    assert hidden > 500


def test_disguised_objects_keep_outline_and_class_alone(library: Library) -> None:
    outlines = {cutout.mask.tobytes() for cutout in library.cutouts}
    disguised = total = 0
    for number in range(40):
        clip = ClipGenerator(library, replace(SMALL, disguised=0.5)).clip(number)
        for cutout in (moving.cutout for moving in clip.objects):
            assert cutout.mask.tobytes() in outlines and cutout.label == 1
            total += 1
            if cutout.pixels[cutout.mask].max() < 250:
                disguised += 1
                # The one background is darker than 40.
                assert cutout.pixels[cutout.mask].max() <= 0.7 * 250 + 0.3 * 40
    assert 0.35 < disguised / total < 0.65


def test_a_disguise_may_be_larger_than_every_background(library: Library) -> None:
    (disc, *_), (background, *_) = library.cutouts, library.backgrounds
    small = replace(background, image=background.image[:7, :5], masks=background.masks[:, :7, :5])
    generator = ClipGenerator(Library((disc,), (small,)), replace(SMALL, disguised=1.0))
    for moving in generator.clip(0).objects:
        assert moving.cutout.pixels.shape == disc.pixels.shape


def test_objects_move_smoothly(library: Library) -> None:
    clip = ClipGenerator(library, SMALL).clip(1)
    centers = np.array([[o.center.at(i) for i in range(SMALL.frames)] for o in clip.objects])
    assert np.abs(np.diff(centers, axis=1)).max() < 0.12
    assert np.abs(np.diff(centers, n=2, axis=1)).max() < 0.05


def test_written_clips_are_a_data_set(library: Library, tmp_path: Path) -> None:
    generator = ClipGenerator(library, replace(SMALL, frames=6))
    clips = [generator.clip(0), generator.clip(1)]
    dataset = load_dataset(write_clips(tmp_path, clips, CLASSES.classes))
    assert [c.name for c in dataset.categories] == ['disc', 'thing']
    for video, clip in zip(dataset.videos, clips, strict=True):
        tracks = [track for track in dataset.tracks if track.video_id == video.id]
        for index, name in enumerate(video.file_names):
            frame = clip.frame(index)
            assert np.array_equal(read_frame(tmp_path / 'JPEGImages', name), frame.image)
            masks = [coco_mask.decode(rle) for t in tracks
                     if (rle := t.sequence.masks[index]) is not None]
            assert np.array_equal(np.array(masks, np.bool_).reshape(frame.masks.shape),
                                  frame.masks)


def test_a_library_needs_whole_objects() -> None:
    cut = disc((250, 250, 20))
    cut = replace(cut, image=cut.image[40:], masks=cut.masks[:, 40:])
    with pytest.raises(DatasetError, match='0 cutouts and 1 backgrounds'):
        Library.of([cut])


def test_an_object_behind_another_is_none_to_cut_out() -> None:
    behind = disc((250, 250, 20))
    behind.masks[:, :, 76:84] = False
    beside = disc((20, 250, 250))
    beside.masks[0, 5:9, 5:9] = True
    library = Library.of([behind, beside])
    assert [cutout.mask.shape for cutout in library.cutouts] == [(96, 116)]
    assert library.backgrounds == (behind, beside)


def test_upright_pictures_are_backgrounds_of_upright_clips(library: Library) -> None:
    lying, = library.backgrounds
    upright = replace(lying, image=np.zeros((160, 80, 3), np.uint8),
                      masks=np.zeros((0, 160, 80), np.bool_))
    both = replace(library, backgrounds=(lying, upright))
    for size, expected in (((96, 160), lying), ((160, 96), upright)):
        config = replace(SMALL, height=size[0], width=size[1])
        generator = ClipGenerator(both, config)
        assert all(generator.clip(number).background is expected for number in range(20))
    alone = ClipGenerator(replace(library, backgrounds=(upright,)), SMALL)
    assert alone.clip(0).background is upright


def test_crowded_pictures_are_no_backgrounds() -> None:
    crowd = disc((250, 250, 20))
    crowd = replace(
        crowd, masks=np.repeat(crowd.masks, 7, 0), labels=np.repeat(crowd.labels, 7),
        ids=np.arange(1, 8),
    )
    alone = disc((20, 250, 250))
    assert Library.of([alone, crowd]).backgrounds == (alone,)
    assert Library.of([alone, crowd], most_in_background=7).backgrounds == (alone, crowd)


def test_class_maps() -> None:
    assert CLASSES.label(['ball', 'sports']) == 1
    assert CLASSES.label(['chair', 'furniture']) == 2
    assert replace(CLASSES, otherwise=None).label(['chair']) is None
    with pytest.raises(ValueError, match='ring: expected classes of the model'):
        ClassMap(('disc',), {'sports': 'ring'})


def test_pictures_in_cocos_format(tmp_path: Path) -> None:
    """A dog and a chair; a picture with a crowd is left out."""
    clip = crossing_shapes('shapes', 2, 1)
    for index, picture in enumerate(clip.frames):
        cv2.imwrite(str(tmp_path / f'{index}.png'), picture)
    height, width = clip.frames[0].shape[:2]
    document = {
        'images': [{'id': index, 'file_name': f'{index}.png', 'height': height, 'width': width}
                   for index in range(2)],
        'categories': [{'id': 3, 'name': 'dog', 'supercategory': 'sports'},
                       {'id': 4, 'name': 'chair', 'supercategory': 'furniture'}],
        'annotations': [
            {'id': 2 * index + number, 'image_id': index, 'category_id': 3 + number,
             'iscrowd': index, 'segmentation': rle(masks[index]), 'bbox': [0, 0, width, height]}
            for index in range(2) for number, masks in enumerate(clip.objects)],
    }
    (tmp_path / 'instances.json').write_text(json.dumps(document))
    (found,) = coco_pictures(tmp_path / 'instances.json', tmp_path, CLASSES)
    assert np.array_equal(found.image, clip.frames[0])
    assert np.array_equal(found.masks, [masks[0] for masks in clip.objects])
    assert found.labels.tolist() == [1, 2]


def test_pictures_of_a_video_have_the_class_of_its_name(tmp_path: Path) -> None:
    clips = [crossing_shapes(name, 3, 1) for name in ('ball', 'sports')]
    for clip in clips:
        write_dataset(tmp_path, [clip])
        write_mask_folder(tmp_path / 'masks', clip, palette=False)
    loaded = load_annotations(tmp_path / 'masks')
    found = list(video_pictures(loaded, tmp_path / 'images', CLASSES, stride=2))
    assert [frame.labels.tolist() for frame in found] == [[2], [2], [1], [1]]
    assert np.array_equal(found[1].image, clips[0].frames[2])
    assert np.array_equal(found[1].masks, [clips[0].objects[0][2] | clips[0].objects[1][2]])


def test_real_pictures(shared: Path) -> None:
    classes = ClassMap(('person', 'animal', 'vehicle', 'object'), {'dog': 'animal'}, 'object')
    coco, davis = shared / 'data' / 'coco_mini', shared / 'data' / 'davis'
    people = Library.of(coco_pictures(coco / 'instances.json', coco / 'images', classes))
    assert {cutout.label for cutout in people.cutouts} == {1, 2, 3, 4}
    annotations = load_annotations(davis / 'Annotations')
    video = video_pictures(annotations, davis / 'JPEGImages', classes, stride=1000)
    assert sum(frame.labels.tolist() == [2] for frame in video) == 1  # `dog` alone
