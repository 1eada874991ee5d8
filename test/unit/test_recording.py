# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A recording that breaks a promise is found out; a sound one is summed up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stmask_ros.bags.files import (
    COMPRESSED_IMAGE,
    INSTANCES,
    BagError,
    BagMessage,
    BagWriter,
    message_types,
    read_bag,
)
from stmask_ros.bags.recording import (
    RecordingError,
    check_recording,
    contact_sheet,
    pictures,
    write_video,
)
from stmask_ros.masks import MaskEncoding, RegionMask

IMAGES, OUT = '/camera/image_raw/compressed', '/segmenter/instances'


def make(name: str, **values: Any) -> Any:
    return message_types().types[name](**values)


def header(second: int) -> Any:
    stamp = make('builtin_interfaces/msg/Time', sec=second, nanosec=7)
    return make('std_msgs/msg/Header', stamp=stamp, frame_id='camera')


def instance(track_id: int = 1, **changes: Any) -> Any:
    mask = RegionMask(3, 2, np.ones((4, 5), bool))
    message = make(
        'stmask_ros/msg/InstanceMask', encoding=int(MaskEncoding.COCO_RLE), x_offset=3,
        y_offset=2, width=5, height=4, area=20,
        data=np.frombuffer(mask.encode(MaskEncoding.COCO_RLE), np.uint8),
    )
    time = make('builtin_interfaces/msg/Time', sec=1, nanosec=7)
    values = {
        'track_id': track_id, 'state': 2, 'source': 1, 'class_id': 1, 'class_name': 'person',
        'score': 0.5, 'detection_score': 0.5, 'age': 1, 'hits': 1, 'missed': 0,
        'first_seen': time, 'last_detected': time, 'x_min': 3.0, 'y_min': 2.0, 'x_max': 8.0,
        'y_max': 6.0, 'mask': message,
    }
    return make('stmask_ros/msg/TrackedInstance', **(values | changes))


def array(second: int, *instances: Any) -> Any:
    return make(
        'stmask_ros/msg/TrackedInstanceArray', header=header(second), image_width=32,
        image_height=24, epoch=1, sequence=second, frames_skipped=0, temporal_valid=True,
        processing_time=make('builtin_interfaces/msg/Duration', sec=0, nanosec=1),
        model='test', instances=list(instances),
    )


def write(folder: Path, arrays: list[Any]) -> Path:
    with BagWriter(folder) as bag:
        for second in (1, 2):
            image = make(
                'sensor_msgs/msg/CompressedImage', header=header(second), format='jpeg',
                data=np.zeros(4, np.uint8),
            )
            bag.write_content(BagMessage(IMAGES, COMPRESSED_IMAGE, second * 10**9, image))
        for content in arrays:
            time = content.header.stamp.sec * 10**9 + 10**8
            bag.write_content(BagMessage(OUT, INSTANCES, time, content))
    return folder


def test_sound_recording(tmp_path: Path) -> None:
    bag = write(tmp_path / 'bag', [array(1, instance(1), instance(2)), array(2, instance(2))])
    recording = check_recording(bag, IMAGES, OUT)
    assert (recording.inputs, recording.outputs) == (2, 2)
    assert (recording.instances, recording.tracks, recording.epochs) == (3, 2, 1)
    np.testing.assert_allclose(recording.latencies, 0.1, atol=1e-6)


def _set_mask(**changes: Any) -> Callable[[], list[Any]]:
    def arrays() -> list[Any]:
        broken = instance()
        for name, value in changes.items():
            setattr(broken.mask, name, value)
        return [array(1, broken)]

    return arrays


@pytest.mark.parametrize(
    ('arrays', 'complaint'),
    [
        (lambda: [array(5)], 'no recorded image'),
        (lambda: [array(1, instance(1), instance(1))], 'repeated'),
        (lambda: [array(1, instance(0))], 'below 1'),
        (lambda: [array(1, instance(1, score=1.5))], 'score'),
        (lambda: [array(1, instance(1, x_max=33.0))], 'box'),
        (lambda: [array(1, instance(1, state=4)), array(2, instance(1))], 'came back'),
        (_set_mask(area=19), 'area'),
        (_set_mask(x_offset=30), 'outside the image'),
    ],
)
def test_broken_promise(tmp_path: Path, arrays: Callable[[], list[Any]], complaint: str) -> None:
    bag = write(tmp_path / 'bag', arrays())
    with pytest.raises((RecordingError, ValueError), match=complaint):
        check_recording(bag, IMAGES, OUT)


def test_missing_topic_and_missing_bag(tmp_path: Path) -> None:
    bag = write(tmp_path / 'bag', [array(1)])
    with pytest.raises(BagError, match=r'no topic /nothing; it has /camera.*, /segmenter'):
        list(read_bag(bag, '/nothing'))
    with pytest.raises(BagError, match='cannot be read'):
        list(read_bag(tmp_path / 'none'))


def test_truncated_bag_keeps_what_was_readable(tmp_path: Path) -> None:
    bag = write(tmp_path / 'bag', [array(1), array(2)])
    (file,) = bag.glob('*.mcap')
    whole = list(read_bag(bag))
    data = file.read_bytes()
    file.write_bytes(data[:-200])  # the recorder was killed before it wrote the index
    seen = []
    with pytest.raises(BagError, match='cannot be read beyond 4 messages'):
        seen.extend(read_bag(bag))
    assert sorted(m.time for m in seen) == sorted(m.time for m in whole)
    file.write_bytes(data[:200])
    with pytest.raises(BagError, match='cannot be read'):
        list(read_bag(bag))


def test_video_and_contact_sheet(tmp_path: Path) -> None:
    frames = [np.full((24, 32, 3), 20 * i, np.uint8) for i in range(5)]
    assert write_video(tmp_path / 'v.mp4', frames, 10.0) == 5
    assert (tmp_path / 'v.mp4').stat().st_size > 100
    sheet = contact_sheet(frames, columns=2, width=64)
    assert sheet.shape == (96, 128, 3)
    with pytest.raises(ValueError, match='at least one'):
        contact_sheet([])


def test_pictures_of_a_bag_that_has_none(tmp_path: Path) -> None:
    bag = write(tmp_path / 'bag', [array(1)])
    assert list(pictures(bag, OUT)) == []
