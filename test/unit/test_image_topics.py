# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Which topic of a bag is taken when nobody names one: in these cases the one below /b."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from stmask_ros.bags import BagError, BagMessage, BagWriter, choose_image_topic, message_types
from stmask_ros.bags.types import COMPRESSED_IMAGE, IMAGE, INSTANCES, LABEL_INFO
from stmask_ros.sources.opening import open_source
from stmask_ros.sources.source import SourceOptions

SIZES = {'mono8': 1, '8UC1': 1, 'mono16': 2, '16UC1': 2, '32FC1': 4, 'bgr8': 3, 'rgb8': 3,
         'bgra8': 4, 'yuyv': 2, 'bayer_rggb8': 1, 'nv12': 1, 'unheard_of': 1}
COLOUR = np.zeros((16, 16, 3), np.uint8)


def make(name: str, **values: Any) -> Any:
    return message_types().types[name](**values)


def header() -> Any:
    stamp = make('builtin_interfaces/msg/Time', sec=1, nanosec=0)
    return make('std_msgs/msg/Header', stamp=stamp, frame_id='')


def raw(encoding: str) -> BagMessage:
    step = 16 * SIZES[encoding]
    content = make(IMAGE, header=header(), height=16, width=16, encoding=encoding, is_bigendian=0,
                   step=step, data=np.zeros(24 * step, np.uint8))
    return BagMessage('', IMAGE, 1, content)


def packed(format_text: str, pixels: Any = COLOUR, suffix: str = '.jpg') -> BagMessage:
    content = make(COMPRESSED_IMAGE, header=header(), format=format_text,
                   data=cv2.imencode(suffix, pixels)[1].reshape(-1))
    return BagMessage('', COMPRESSED_IMAGE, 1, content)


GREY = packed('mono8; jpeg compressed ', COLOUR[..., 0])
DEPTH = packed('16UC1; compressedDepth png', COLOUR[..., 0], '.png')


def write(folder: Path, topics: Mapping[str, BagMessage]) -> Path:
    with BagWriter(folder) as writer:
        for topic, message in topics.items():
            if message.content is None:
                writer.write(topic, message.type_name, 1, b'')
            else:
                writer.write_content(BagMessage(topic, message.type_name, 1, message.content))
    return folder


# Only their type matters here.
INSTANCES_MESSAGE = BagMessage('', INSTANCES, 1, None)
LABELS = BagMessage('', LABEL_INFO, 1, None)


CASES = {
    'ZED': {
        '/a/depth/depth_registered': raw('32FC1'), '/b/left/image_rect': raw('bgra8'),
    },
    'RealSense': {
        '/a/aligned_depth_to_color/image_raw': raw('16UC1'),
        '/b/color/image_raw': raw('rgb8'), '/a/infra1/image_rect_raw': raw('mono8'),
    },
    'Azure Kinect': {
        '/a/depth/image_raw': raw('16UC1'), '/a/ir/image_raw': raw('mono16'),
        '/b/rgb/image_raw': raw('bgra8'),
    },
    'infrared, not named so': {'/a/image': raw('8UC1'), '/b/image': raw('yuyv')},
    'mosaic': {'/a/mono': raw('mono8'), '/b/image_raw': raw('bayer_rggb8')},
    'planar': {'/a/mono': raw('mono8'), '/b/image_raw': raw('nv12')},
    'compressed': {
        '/a/depth/compressed': packed('16UC1; png compressed ', COLOUR[..., 0], '.png'),
        '/a/x/compressedDepth': DEPTH, '/b/image/compressed': packed('jpeg'),
    },
    'compressed grey': {'/a/image/compressed': GREY, '/b/image/compressed': packed('jpeg')},
    'compressed mosaic': {
        '/a/image/compressed': GREY,
        '/b/image/compressed': packed('bayer_rggb8; jpeg compressed ', COLOUR[..., 0]),
    },
    'depth in colours': {'/a/disparity': raw('bgr8'), '/b/image': raw('bgr8')},
    'thermal in colours': {'/a/thermal/image': raw('bgr8'), '/b/image': raw('bgr8')},
    'unheard of': {'/a/image': raw('unheard_of'), '/b/image': raw('bgr8')},
    'grey only': {'/a/depth': raw('16UC1'), '/b/image': raw('mono8')},
    'infrared is better than depth': {'/a/depth': raw('16UC1'), '/b/infra1/image': raw('mono8')},
    'a segmenter': {
        '/a/instances': INSTANCES_MESSAGE, '/a/label_info': LABELS, '/a/overlay': raw('bgr8'),
        '/a/label_image': raw('mono16'), '/b/image': raw('mono8'),
    },
    'a segmenter of two cameras': {
        '/a/label_info': LABELS, '/a/left/overlay': raw('bgr8'), '/b/image': raw('mono8'),
    },
    'a segmenter whose instances were not recorded': {
        '/a/overlay': raw('bgr8'), '/b/image': raw('bgr8'),
    },
    'a name with ir in it': {'/b/mirror/image': raw('bgr8'), '/c/image': raw('mono8')},
}


@pytest.mark.parametrize('topics', CASES.values(), ids=CASES)
def test_what_a_person_means_is_taken(tmp_path: Path, topics: dict[str, BagMessage]) -> None:
    bag = write(tmp_path / 'bag', topics)
    (expected,) = (name for name in topics if name.startswith('/b'))
    images = {
        name for name, message in topics.items()
        if message.type_name in (IMAGE, COMPRESSED_IMAGE)
    }
    chosen = choose_image_topic(bag)
    assert chosen.topic == expected
    assert set(chosen.others) == images - {expected}
    name = open_source(str(bag), SourceOptions()).name
    assert name.split()[0] == expected
    assert all(other in name for other in chosen.others)
    assert all(other in str(chosen) for other in chosen.others)


def test_the_one_that_was_asked_for_is_taken(tmp_path: Path) -> None:
    bag = write(tmp_path / 'bag', CASES['a segmenter'])
    assert choose_image_topic(bag, '/a/overlay').topic == '/a/overlay'
    source = open_source(str(bag), SourceOptions(bag_topic='/a/overlay'))
    assert source.name.startswith('/a/overlay of')
    with pytest.raises(BagError, match='is no topic of images'):
        choose_image_topic(bag, '/a/instances')


def test_equals_are_taken_by_name_and_an_empty_topic_last(tmp_path: Path) -> None:
    bag = write(tmp_path / 'bag', {'/right/image': raw('bgr8'), '/left/image': raw('bgr8'),
                                   '/left/image/compressed': packed('jpeg')})
    chosen = choose_image_topic(bag)
    assert (chosen.topic, *chosen.others) == (
        '/left/image', '/left/image/compressed', '/right/image')


def test_a_segmenter_alone_has_no_images(tmp_path: Path) -> None:
    bag = write(tmp_path / 'bag', {'/s/overlay': raw('bgr8'), '/s/instances': INSTANCES_MESSAGE})
    with pytest.raises(BagError, match='has no images'):
        choose_image_topic(bag)
