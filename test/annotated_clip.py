# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Short clips whose objects are known to the pixel, as data sets and as bags."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image
from pycocotools import mask as coco_mask
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from skimage import data

from stmask_ros.sources.built_in_clip import BuiltInClip

Bgr = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]

TYPES = get_typestore(Stores.ROS2_JAZZY)
TOPIC = '/camera/image_raw'
PERIOD = 100_000_000
START = 1_700_000_000_000_000_000
CATEGORIES = ('person', 'animal', 'vehicle', 'object')


@dataclass(frozen=True)
class Clip:
    """Frames uint8 BGR [H, W, 3], and for each object its masks bool [H, W], one a frame."""

    name: str
    frames: Sequence[Bgr]
    objects: Sequence[Sequence[BoolArray]]
    category_ids: Sequence[int]

    @property
    def stamps(self) -> list[int]:
        """Of the frames [ns]."""
        return [START + index * PERIOD for index in range(len(self.frames))]


def crossing_shapes(name: str, count: int, seed: int) -> Clip:
    """Return a clip of a disc that passes in front of a square."""
    height, width = 96, 128
    random = np.random.default_rng(seed)
    background = cv2.resize(
        random.integers(0, 255, (6, 8, 3), np.uint8), (width, height),
        interpolation=cv2.INTER_CUBIC,
    )
    rows, columns = np.mgrid[0:height, 0:width]
    frames, discs, squares = [], [], []
    for index in range(count):
        x = 30 + 60 * index / max(1, count - 1)
        disc = (columns - x) ** 2 + (rows - 48) ** 2 < 20**2
        square = (abs(columns - (128 - x)) < 18) & (abs(rows - 40) < 18) & ~disc
        frame = background.copy()
        frame[square] = (40, 200, 230)
        frame[disc] = (200, 60, 90)
        frames.append(frame)
        discs.append(disc)
        squares.append(square)
    return Clip(name, frames, [discs, squares], [3, 4])


def walking_cat(name: str, count: int) -> Clip:
    """Return a clip of photographs: the cat of the built-in clip crosses a picture of a table."""
    cat, table = BuiltInClip().cutouts()['cat'], data.coffee()[..., ::-1]
    opaque, height, width = cat[..., 3:] / 255, *cat.shape[:2]
    frames, masks = [], []
    for left in range(200, 200 + 6 * count, 6):
        frame, mask = table.copy(), np.zeros(table.shape[:2], bool)
        place = np.s_[table.shape[0] - height - 20:-20, left:left + width]
        frame[place] = (frame[place] * (1 - opaque) + cat[..., :3]).round()
        mask[place] = cat[..., 3] > 127
        frames.append(frame)
        masks.append(mask)
    return Clip(name, frames, [masks], [2])


def davis_composite(davis: Path, count: int, step: int = 4, scale: float = 0.25) -> Clip:
    """Return the car of one DAVIS sequence, with the dog of another walking in front of it."""
    frames, cars, dogs = [], [], []
    for index in range(0, count * step, step):
        picture, car = _davis_frame(davis, 'car-shadow', index % 40, scale)
        animal, dog = _davis_frame(davis, 'dog', index % 60, scale)
        picture[dog] = animal[dog]
        frames.append(picture)
        cars.append(car & ~dog)
        dogs.append(dog)
    return Clip('composite', frames, [cars, dogs], [3, 2])


def _davis_frame(davis: Path, name: str, index: int, scale: float) -> tuple[Bgr, BoolArray]:
    picture = cv2.imread(str(davis / 'JPEGImages' / name / f'{index:05}.jpg'))
    mask = cv2.imread(str(davis / 'Annotations' / name / f'{index:05}.png'), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    assert mask is not None
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    size = (small.shape[1], small.shape[0])
    return small, cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST) > 0


def write_dataset(folder: Path, clips: Sequence[Clip], stamps: bool = False) -> tuple[Path, Path]:
    """Write clips as YouTube-VIS has them; return the annotations' file and the images' folder."""
    videos: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for video_id, clip in enumerate(clips, 1):
        height, width = clip.frames[0].shape[:2]
        names = [f'{clip.name}/{index:05}.png' for index in range(len(clip.frames))]
        videos.append({'id': video_id, 'height': height, 'width': width,
                       'length': len(names), 'file_names': names})
        if stamps:
            videos[-1]['stamps'] = clip.stamps
        for file_name, frame in zip(names, clip.frames, strict=True):
            path = folder / 'images' / file_name
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), frame)
        for category_id, masks in zip(clip.category_ids, clip.objects, strict=True):
            annotations.append({
                'id': len(annotations) + 1, 'video_id': video_id, 'category_id': category_id,
                'iscrowd': 0, 'segmentations': [rle(mask) for mask in masks],
            })
    document = {
        'videos': videos, 'annotations': annotations,
        'categories': [{'id': i, 'name': name} for i, name in enumerate(CATEGORIES, 1)],
    }
    path = folder / 'annotations.json'
    path.write_text(json.dumps(document))
    return path, folder / 'images'


def rle(mask: BoolArray) -> dict[str, Any] | None:
    if not mask.any():
        return None
    encoded = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {'size': encoded['size'], 'counts': encoded['counts'].decode()}


def write_mask_folder(folder: Path, clip: Clip, palette: bool) -> Path:
    """Write a clip's masks as DAVIS has them: objects by palette index, or one in white."""
    (folder / clip.name).mkdir(parents=True)
    for index in range(len(clip.frames)):
        labels = np.zeros(clip.frames[0].shape[:2], np.uint8)
        for number, masks in enumerate(clip.objects, 1):
            labels[masks[index]] = number if palette else 255
        picture = PIL.Image.fromarray(labels)
        if palette:
            picture.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0])
        picture.save(folder / clip.name / f'{index:05}.png')
    return folder


def image_message(frame: Bgr, stamp: int, suffix: str = '') -> Any:
    """Return a frame as rosbags has sensor_msgs/Image (bgr8), or CompressedImage for a suffix."""
    header = TYPES.types['std_msgs/msg/Header'](
        TYPES.types['builtin_interfaces/msg/Time'](*divmod(stamp, 10**9)), 'camera'
    )
    if suffix:
        _, data = cv2.imencode(suffix, frame)
        return TYPES.types['sensor_msgs/msg/CompressedImage'](header, suffix[1:], data.ravel())
    height, width = frame.shape[:2]
    return TYPES.types['sensor_msgs/msg/Image'](
        header, height, width, 'bgr8', 0, width * 3, frame.ravel()
    )


def write_bag(
    folder: Path, clip: Clip, suffix: str = '',
    storage: StoragePlugin = StoragePlugin.MCAP,
) -> Path:
    """Write a clip as a bag with one topic of images; suffix: see image_message."""
    name = 'sensor_msgs/msg/CompressedImage' if suffix else 'sensor_msgs/msg/Image'
    with Writer(folder, version=Writer.VERSION_LATEST, storage_plugin=storage) as writer:
        connection = writer.add_connection(TOPIC, name, typestore=TYPES)
        for frame, stamp in zip(clip.frames, clip.stamps, strict=True):
            message = image_message(frame, stamp, suffix)
            writer.write(connection, stamp + 1_000_000, TYPES.serialize_cdr(message, name))
    return folder
