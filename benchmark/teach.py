# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Teach stmask_lite a pallet, a charging dock and a gripper, and count what it knows afterwards.

Nothing here was in its training: the videos and pictures are those that it left out.

    OMP_NUM_THREADS=1 python -m benchmark.teach DATA --lessons 96 --iterations 200

DATA holds davis/ and coco_mini/. The frames are labelled as drawn. Options that are not its own go
to `stmask teach`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmark.teaching_scene import (
    KINDS,
    LEAST_PIXELS,
    Frame,
    Mask,
    labels_of,
    scene,
    thing,
    write,
)
from stmask_ros.cli import main as stmask
from stmask_ros.evaluation.report import text_table
from stmask_ros.families.family import TrackerSettings
from stmask_ros.families.frames import AnnotatedFrame, Image
from stmask_ros.teaching.scoring import FrameScores, score_frames
from stmask_ros.tracking.segmenter import load_segmenter

# Videos and what is in them, that a model knows.
VIDEOS = {'libby': 'dog', 'car-shadow': 'car'}
# Every so manieth picture of coco_mini was left out of the training.
LEFT_OUT = 5
SETTINGS = TrackerSettings(score_threshold=0.05, birth_threshold=0.0, nms_threshold=0.5)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('data', type=Path)
    parser.add_argument('--labelled', type=int, default=30, help='frames (default: 30)')
    parser.add_argument('--out', type=Path, help='folder to keep (default: none)')
    options, teaching = parser.parse_known_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        out = options.out or Path(temporary)
        clips = [_clip(options.data, number, name) for number, name in enumerate(VIDEOS, 1)]
        labelled = [_spread(len(clip), options.labelled // len(clips)) for clip in clips]
        write(out / 'labelled', clips, [
            labels_of(clip, KINDS, rows, number)
            for number, (clip, rows) in enumerate(zip(clips, labelled, strict=True), 1)])
        wall, processor = _teach(out, teaching)
        _tell(options.data, out, clips, labelled)
        sys.stdout.write(f'taught in {wall:.0f} s, {processor:.0f} s of one processor\n')


def _clip(data: Path, number: int, name: str) -> list[Frame]:
    pictures, masks = video(data, name)
    things = [thing(kind, len(pictures), number) for kind in KINDS]
    return [
        replace(frame, masks=frame.masks[1:]) for frame in scene(pictures, masks, things, number)]


def video(data: Path, name: str) -> tuple[list[Image], list[Mask]]:
    """Return the pictures of a video of DAVIS, and the masks of its object, bool [H, W]."""
    files = sorted((data / 'davis' / 'JPEGImages' / name).glob('*.jpg'))
    masks = [data / 'davis' / 'Annotations' / name / f'{file.stem}.png' for file in files]
    return [np.asarray(cv2.imread(str(file)), np.uint8) for file in files], [
        np.asarray(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)) > 0 for file in masks]


def _spread(frames: int, count: int) -> list[int]:
    return [frames * number // count for number in range(count)]


def _teach(out: Path, options: list[str]) -> tuple[float, float]:
    """Return the time and the processor's time [s]."""
    wall, processor = time.monotonic(), time.process_time()
    code = stmask([
        'teach', 'stmask_lite', str(out / 'labelled'), '--out', str(out / 'taught'), *options])
    if code:
        raise SystemExit(code)
    return time.monotonic() - wall, time.process_time() - processor


def _tell(data: Path, out: Path, clips: list[list[Frame]], labelled: list[list[int]]) -> None:
    models = ('stmask_lite', str(out / 'taught' / 'taught.yaml'))
    new = [
        _annotated(frame.picture, frame.masks)
        for clip, rows in zip(clips, labelled, strict=True)
        for number, frame in enumerate(clip) if number not in rows]
    old = [frame for label, name in enumerate(VIDEOS, 1) for frame in _plain(data, name, label)]
    rows = [
        *_rows(f'new, {len(new)} frames without labels', [
            _scores(model, new, KINDS) for model in models]),
        *_rows(f'old, {len(old)} frames of the videos alone', [
            _scores(model, old, tuple(VIDEOS.values())) for model in models]),
        *_coco_rows(data, out, models),
    ]
    sys.stdout.write(f'{text_table(("mask AP [%]", "before", "after"), rows)}\n')


def _annotated(picture: Image, masks: Mask, label: int = 1) -> AnnotatedFrame:
    seen = masks.sum((1, 2)) >= LEAST_PIXELS
    numbers = np.arange(label, label + len(masks), dtype=np.int64)
    return AnnotatedFrame(picture, masks[seen], numbers[seen], numbers[seen])


def _plain(data: Path, name: str, label: int) -> list[AnnotatedFrame]:
    pictures, masks = video(data, name)
    return [
        _annotated(picture, mask[None], label)
        for picture, mask in list(zip(pictures, masks, strict=True))[::4]]


def _scores(model: str, frames: list[AnnotatedFrame], names: tuple[str, ...]) -> FrameScores:
    return score_frames(load_segmenter(model, 'cpu', SETTINGS), frames, names)


def _rows(title: str, scores: list[FrameScores]) -> list[tuple[str, ...]]:
    names = scores[0].by_class
    return [
        (title, *(f'{100 * each.mean_of(list(names)):.1f}' for each in scores)),
        *((f'  {name}', *(f'{100 * each.by_class[name]:.1f}' for each in scores))
          for name in names),
    ]


def _coco_rows(data: Path, out: Path, models: tuple[str, str]) -> list[tuple[str, ...]]:
    coco = json.loads((data / 'coco_mini' / 'instances.json').read_text())
    left_out = set(sorted(image['id'] for image in coco['images'])[::LEFT_OUT])
    annotations = out / 'left_out.json'
    annotations.write_text(json.dumps(coco | {
        'images': [image for image in coco['images'] if image['id'] in left_out],
        'annotations': [a for a in coco['annotations'] if a['image_id'] in left_out],
    }))
    numbers = []
    for model in models:
        file = out / f'coco_{Path(model).stem}.json'
        stmask(['eval', 'images', '--annotations', str(annotations), '--images',
                str(data / 'coco_mini' / 'images'), '--model', model, '--output', str(file),
                '--overwrite'])
        numbers.append(json.loads(file.read_text()))
    return [
        (f'old, {len(left_out)} pictures of COCO, {kind}',
         *(f'{100 * each[kind]["ap"]:.1f}' for each in numbers)) for kind in ('boxes', 'masks')]


if __name__ == '__main__':
    main()
