# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Frames of a bag that are worth labelling: which, why, and the folder that they come into."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer

from stmask_ros.bags import message_types
from stmask_ros.cli import main
from stmask_ros.labelling.choice import Changes, Observation, choose, sharpness
from stmask_ros.labelling.editor import locked
from stmask_ros.labelling.folder import check_pictures, read_labels, write_labels, write_picture
from stmask_ros.masks import RegionMask
from stmask_ros.tracking.results import FrameResult, TrackStatus

MODEL = Path(__file__).resolve().parents[1] / 'models' / 'stmask.yaml'
IMAGE = 'sensor_msgs/msg/Image'
SECOND = 10**9
CONFIRMED, COASTING, TERMINATED = (
    TrackStatus.CONFIRMED, TrackStatus.COASTING, TrackStatus.TERMINATED)


def picture(number: int, width: int = 96, height: int = 54) -> np.ndarray:
    """Return a textured picture, different for each number."""
    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 255, (6, 8, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST)


def write_bag(folder: Path, pictures: Sequence[np.ndarray]) -> Path:
    types = message_types()
    with Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection('/cam/image_raw', IMAGE, typestore=types)
        for number, pixels in enumerate(pictures, 1):
            stamp = types.types['builtin_interfaces/msg/Time'](sec=number, nanosec=0)
            header = types.types['std_msgs/msg/Header'](stamp=stamp, frame_id='cam')
            height, width = pixels.shape[:2]
            message = types.types[IMAGE](
                header=header, height=height, width=width, encoding='bgr8', is_bigendian=0,
                step=3 * width, data=pixels.ravel())
            writer.write(connection, number * SECOND, types.serialize_cdr(message, IMAGE))
    return folder


def export(bag: Path, out: Path, *options: str) -> int:
    return main(['bag', 'export', str(bag), str(out), '--model', str(MODEL),
                 '--device', 'cpu', *options])


def observation(
    position: int, level: float, sharp: float = 100.0, doubt: float = 0.0,
    changes: tuple[str, ...] = (),
) -> Observation:
    return Observation(position, sharp, np.full(432, level, np.float32), doubt, changes)


def positions(frames: Sequence[Observation], **options: int) -> list[int]:
    return [choice.position for choice in choose(frames, **options)]


def test_frames_far_from_each_other_are_chosen() -> None:
    frames = [observation(n, 10 * n) for n in range(11)]
    assert positions(frames, most=3) == [0, 5, 10]


def test_frames_that_look_alike_are_chosen_once() -> None:
    assert positions([observation(n, 100 + 0.01 * n) for n in range(20)]) == [0]


def test_blurred_frames_are_left_out() -> None:
    frames = [observation(n, 10 * n, sharp=20.0 if n == 5 else 100.0) for n in range(11)]
    assert 5 not in positions(frames)
    assert len(positions(frames)) == 10


def test_of_some_frames_in_a_row_the_sharpest_is_taken() -> None:
    frames = [observation(n, 10 * n, sharp=100.0 + n % 4) for n in range(12)]
    assert positions(frames, every=4) == [3, 7, 11]


def test_doubt_and_changes_come_first_and_are_told() -> None:
    frames = [observation(n, n) for n in range(20)]
    frames[7] = observation(7, 7, doubt=0.9)
    frames[12] = observation(12, 12, changes=('track 3 began',))
    chosen = choose(frames, most=3)
    assert [(c.position, c.reason) for c in chosen] == [
        (0, 'different'), (7, 'unsure (0.90)'), (12, 'track 3 began')]


def test_no_frames_and_one_frame() -> None:
    assert choose([]) == []
    assert positions([observation(4, 1)]) == [4]


def test_a_blurred_picture_is_less_sharp() -> None:
    sharp = picture(1, 640, 360)
    assert sharpness(cv2.GaussianBlur(sharp, (0, 0), 6)) < 0.2 * sharpness(sharp)


def result(
    *tracks: tuple[int, TrackStatus, int], sequence: int = 1, epoch: int = 1
) -> FrameResult:
    """Return a frame with tracks of an id, a status and a left edge."""
    count = len(tracks)
    ids, statuses, lefts = (np.array(column, np.int64) for column in zip(*tracks, strict=True)) \
        if tracks else (np.zeros(0, np.int64),) * 3
    boxes = np.stack([lefts, 0 * lefts, lefts + 10, 0 * lefts + 10], 1).astype(np.float32)
    whole, scores = np.zeros(count, np.int64), np.ones(count, np.float32)
    return FrameResult(
        20, 99, epoch, sequence, sequence > 1, ids, statuses, whole, whole + 1, scores, scores,
        whole, whole, whole, whole, whole, boxes, [RegionMask.empty()] * count)


def test_beginnings_ends_and_new_numbers_are_told() -> None:
    changes = Changes()
    told = [list(changes.told(each)) for each in (
        result((1, CONFIRMED, 5)),
        result((1, CONFIRMED, 6), (2, CONFIRMED, 50), sequence=2),
        result((1, COASTING, 6), (2, CONFIRMED, 50), sequence=3),
        result((1, TERMINATED, 6), (2, CONFIRMED, 50), sequence=4),
        result((2, CONFIRMED, 50), (3, CONFIRMED, 7), sequence=5),
        result((9, CONFIRMED, 50), epoch=2),
    )]
    assert told == [
        ['track 1 began'], ['track 2 began'], [], ['track 1 ended'], ['track 1 became 3'],
        ['track 9 began']]


def test_a_hidden_track_comes_back_under_its_number() -> None:
    changes = Changes()
    told = [list(changes.told(each)) for each in (
        result((1, CONFIRMED, 5)),
        result(sequence=2),
        result((1, CONFIRMED, 6), sequence=3),
        result(sequence=4),
        result((1, TERMINATED, 6), sequence=5),
    )]
    assert told == [
        ['track 1 began'], ['track 1 is lost'], ['track 1 came back'], ['track 1 is lost'], []]


def test_a_bag_becomes_a_folder(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', [picture(n) for n in range(6)])
    out = tmp_path / 'out'
    assert export(bag, out, '--most', '4', '--class', 'pallet') == 0
    labels = read_labels(out)
    check_pictures(out, labels)
    (video,) = labels.videos
    assert len(video.frames) == 4
    assert not any(frame.is_labelled for frame in video.frames)
    assert all(frame.reason and frame.stamp for frame in video.frames)
    assert labels.categories[-1].name == 'pallet'
    sheet = cv2.imread(str(out / 'contact_sheet.jpg'))
    assert sheet.shape[1] > 600
    for name in ('roboflow/_annotations.coco.json', 'yolo/data.yaml', 'cvat/annotations.xml',
                 'label_studio/tasks.json', 'masks'):
        assert (out / name).exists()
    document = json.loads((out / 'roboflow' / '_annotations.coco.json').read_text())
    assert len(document['images']) == 4


def test_images_of_another_size_are_another_video(tmp_path: Path) -> None:
    pictures = [picture(0), picture(1), picture(2, 64, 48), picture(3, 64, 48)]
    assert export(write_bag(tmp_path / 'bag', pictures), tmp_path / 'out') == 0
    labels = read_labels(tmp_path / 'out')
    assert [(v.width, v.height) for v in labels.videos] == [(96, 54), (64, 48)]
    assert len({track.id for track in labels.tracks}) == len(labels.tracks)


def test_what_people_labelled_is_not_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bag, out = write_bag(tmp_path / 'bag', [picture(0), picture(1)]), tmp_path / 'out'
    assert export(bag, out) == 0
    masks = tmp_path / 'masks'
    masks.mkdir()
    first = read_labels(out).videos[0].frames[0].file_name
    numbers = np.zeros((54, 96), np.uint8)
    numbers[10:30, 20:50] = 77
    cv2.imwrite(str(masks / f'{Path(first).stem}.png'), numbers)
    assert main(['bag', 'import', str(out), str(masks), '--class', 'pallet']) == 0
    labels = read_labels(out)
    assert labels.videos[0].frames[0].is_labelled
    assert labels.category(labels.track(77).category_id).name == 'pallet'
    before = (out / 'annotations.json').read_bytes()
    assert export(bag, out) == 1
    assert '1 frames that were labelled' in caplog.text
    assert (out / 'annotations.json').read_bytes() == before
    assert export(bag, out, '--overwrite') == 0


def test_masks_that_were_changed_are_not_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bag, out = write_bag(tmp_path / 'bag', [picture(0), picture(1)]), tmp_path / 'out'
    assert export(bag, out) == 0
    assert export(bag, out) == 0
    write_labels(out, replace(read_labels(out), tracks=()))
    assert export(bag, out) == 1
    assert 'was changed since it was exported' in caplog.text
    assert read_labels(out).tracks == ()
    assert export(bag, out, '--overwrite') == 0


def test_a_picture_that_cannot_be_written_is_no_success(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r'x\.png'):
        write_picture(tmp_path / 'nowhere' / 'x.png', picture(0))


def test_a_bag_without_images_leaves_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bag = write_bag(tmp_path / 'bag', [])
    assert export(bag, tmp_path / 'out') == 1
    assert not (tmp_path / 'out').exists()
    assert caplog.records[-1].levelname == 'ERROR'


def test_one_image_without_objects_is_a_folder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bag = write_bag(tmp_path / 'bag', [picture(0)])
    assert export(bag, tmp_path / 'out', '--birth-threshold', '1') == 0
    assert 'no object' in caplog.text
    assert read_labels(tmp_path / 'out').tracks == ()


@pytest.mark.parametrize(('option', 'words'), [
    (('--every', '0'), '--every: expected 1 or more'), (('--most', '-1'), '--most: expected 1')])
def test_odd_numbers_are_refused(
    option: tuple[str, str], words: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert export(tmp_path, tmp_path / 'out', *option) == 1
    assert words in caplog.text


@pytest.mark.parametrize('kind', ['export.zip', 'nowhere.json'])
def test_odd_exports_leave_the_labels(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bag, out = write_bag(tmp_path / 'bag', [picture(0)]), tmp_path / 'out'
    assert export(bag, out) == 0
    before = (out / 'annotations.json').read_bytes()
    assert main(['bag', 'import', str(out), str(tmp_path / kind)]) == 1
    assert kind in caplog.text
    assert (out / 'annotations.json').read_bytes() == before


def test_nothing_is_imported_while_somebody_labels(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bag, out = write_bag(tmp_path / 'bag', [picture(0)]), tmp_path / 'out'
    assert export(bag, out) == 0
    command = ['bag', 'import', str(out), str(out / 'masks'), '--class', 'a']
    with locked(out):
        assert main(command) == 1
    assert 'being labelled already' in caplog.text
    assert main(command) == 0


def test_a_folder_whose_pictures_are_gone_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bag, out = write_bag(tmp_path / 'bag', [picture(0)]), tmp_path / 'out'
    assert export(bag, out) == 0
    write_labels(out, read_labels(out))
    (out / 'images' / '000000.jpg').unlink()
    assert main(['bag', 'import', str(out), str(out / 'masks')]) == 1
    assert 'no such picture' in caplog.text
