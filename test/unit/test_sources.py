# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Sources: what is played, in which order, at what time, and what a wrong one says."""

import sqlite3
import struct

import annotated_clip
import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from stmask_ros.camera.schedule import Schedule
from stmask_ros.images import ImageError
from stmask_ros.sources.built_in_clip import BuiltInClip
from stmask_ros.sources.opening import open_source
from stmask_ros.sources.source import SourceError, SourceOptions

TYPES = get_typestore(Stores.ROS2_JAZZY)
RAW, JPEG = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'


def picture(level):
    return np.full((24, 32, 3), level, np.uint8)


def header(index):
    stamp = TYPES.types['builtin_interfaces/msg/Time'](sec=index, nanosec=5)
    return TYPES.types['std_msgs/msg/Header'](stamp=stamp, frame_id='eye')


def raw_message(index):
    data = picture(index * 10).reshape(-1)
    return TYPES.types[RAW](header=header(index), height=24, width=32, encoding='rgb8',
                            is_bigendian=0, step=96, data=data)


def jpeg_message(index):
    data = cv2.imencode('.jpg', picture(index * 10))[1].reshape(-1)
    return TYPES.types[JPEG](header=header(index), format='jpeg', data=data)


def write_bag(path, plugin=StoragePlugin.MCAP):
    """Write three messages of each type, 0.1 s apart."""
    with Writer(path, version=9, storage_plugin=plugin) as bag:
        for topic, kind, make in (('/b/raw', RAW, raw_message), ('/a/jpeg', JPEG, jpeg_message)):
            connection = bag.add_connection(topic, kind, typestore=TYPES)
            for index in range(3):
                cdr = TYPES.serialize_cdr(make(index), kind)
                bag.write(connection, 10**18 + index * 10**8, cdr)
    return path


def test_the_clip_is_smooth_and_the_same_every_time():
    clip, again = BuiltInClip(), BuiltInClip()
    frames = [clip.frame(index / clip.rate) for index in (0, 1, 60, clip.frame_count)]
    assert all(frame.shape == (360, 640, 3) and frame.dtype == np.uint8 for frame in frames)
    np.testing.assert_array_equal(frames[2], again.frame(2.0))
    np.testing.assert_array_equal(frames[0], frames[3])
    step, leap = (np.abs(frames[0].astype(int) - frames[i]).mean() for i in (1, 2))
    assert 0 < step < 8 < leap


def test_the_clip_is_the_source_without_a_name():
    source = open_source('', SourceOptions())
    offsets = [frame.offset_ns for frame in source.frames()]
    assert len(offsets) == 240
    assert offsets[30] == 10**9
    assert next(source.frames()).bgr().shape == (360, 640, 3)


def test_a_folder_plays_by_number_and_keeps_the_files(tmp_path):
    for number in (10, 9, 100):
        cv2.imwrite(str(tmp_path / f'frame{number}.png'), picture(number))
    (tmp_path / 'frame11.jpg').write_bytes(b'\xff\xd8 not really')
    (tmp_path / 'notes.txt').write_text('no picture')
    frames = list(open_source(str(tmp_path), SourceOptions(rate=10.0)).frames())
    assert [frame.offset_ns for frame in frames] == [0, 10**8, 2 * 10**8, 3 * 10**8]
    assert [int(frames[i].bgr()[0, 0, 0]) for i in (0, 1, 3)] == [9, 10, 100]
    assert frames[0].compressed().data == (tmp_path / 'frame9.png').read_bytes()
    assert frames[0].compressed().format == 'png'
    with pytest.raises(ImageError, match=r'frame11\.jpg'):
        frames[2].bgr()


def test_a_picture_that_goes_away_is_one_broken_frame(tmp_path):
    for number in (1, 2):
        cv2.imwrite(str(tmp_path / f'{number}.png'), picture(number))
    frames = open_source(str(tmp_path), SourceOptions()).frames()
    (tmp_path / '1.png').unlink()
    with pytest.raises(ImageError, match='cannot read'):
        next(frames).compressed()
    assert next(frames).bgr()[0, 0, 0] == 2


def test_a_video_plays_at_its_rate_and_again(tmp_path):
    path = tmp_path / 'clip.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 20, (32, 24))
    for level in (0, 100, 200):
        writer.write(picture(level))
    writer.release()
    source = open_source(str(path), SourceOptions())
    for _ in range(2):
        played = [(frame.offset_ns, int(frame.bgr().mean())) for frame in source.frames()]
        assert [offset for offset, _ in played] == [0, 5 * 10**7, 10**8]
        assert np.allclose([level for _, level in played], [0, 100, 200], atol=4)


def write_video(path, code='MJPG', count=30):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), 10, (32, 24))
    noise = np.random.default_rng(4).integers(0, 20, (24, 32, 3), np.uint8)  # hard to compress
    for index in range(count):
        writer.write(picture(index * 8) + noise)
    writer.release()
    return path


def damage(path, places):
    """Overwrite frames of a Motion-JPEG video."""
    data = bytearray(path.read_bytes())
    starts = [i for i in range(len(data)) if data[i:i + 4] == b'00dc' and data[i + 8] == 0xff]
    for place in places:
        data[starts[place] + 8:starts[place + 1]] = bytes(starts[place + 1] - starts[place] - 8)
    path.write_bytes(data)


@pytest.mark.parametrize('places', [[3], [11], [28], [3, 4, 5, 20], [0, 1], list(range(1, 29))])
def test_a_damaged_frame_of_a_video_costs_itself(tmp_path, caplog, places):
    path = write_video(tmp_path / 'clip.avi')
    damage(path, places)
    frames = list(open_source(str(path), SourceOptions()).frames())
    left = [index for index in range(30) if index not in places]
    assert [frame.offset_ns for frame in frames] == [(i - left[0]) * 10**8 for i in left]
    lost = len([place for place in places if place > left[0]])
    assert (f'left out {lost} damaged frames' in caplog.text) == (lost > 0)


def test_a_video_that_breaks_off_says_so(tmp_path, caplog):
    path = write_video(tmp_path / 'clip.avi')
    data = path.read_bytes()
    path.write_bytes(data[:len(data) // 2])
    assert 0 < len(list(open_source(str(path), SourceOptions()).frames())) < 20
    assert 'it has 30 frames' in caplog.text


def with_durations(movie, durations):
    """Return an MP4 whose frames are shown for so many ticks each: its box of times replaced."""
    place = movie.index(b'stts') - 4
    size = int.from_bytes(movie[place:place + 4], 'big')
    entries = b''.join(struct.pack('>II', 1, ticks) for ticks in durations)
    box = struct.pack('>I4sII', 16 + len(entries), b'stts', 0, len(durations)) + entries
    movie = bytearray(movie[:place] + box + movie[place + size:])
    for name in (b'moov', b'trak', b'mdia', b'minf', b'stbl'):
        parent = movie.rindex(name, 0, place) - 4
        old = int.from_bytes(movie[parent:parent + 4], 'big')
        movie[parent:parent + 4] = struct.pack('>I', old + len(box) - size)
    return bytes(movie).replace(b'edts', b'free')  # which tells the old duration


def test_a_video_of_a_varying_rate_plays_at_its_own_times(tmp_path):
    path = write_video(tmp_path / 'clip.mp4', 'mp4v', 4)
    movie = path.read_bytes()
    tick = int.from_bytes(movie[movie.index(b'stts') + 16:][:4], 'big')  # of a tenth of a second
    path.write_bytes(with_durations(movie, [tick, 5 * tick, 2 * tick, tick]))
    frames = list(open_source(str(path), SourceOptions()).frames())
    assert [frame.offset_ns for frame in frames] == [0, 10**8, 6 * 10**8, 8 * 10**8]


@pytest.mark.parametrize('plugin', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_a_bag_keeps_its_messages(tmp_path, plugin):
    path = write_bag(tmp_path / 'bag', plugin)
    raw = list(open_source(str(path), SourceOptions(bag_topic='/b/raw')).frames())
    assert [frame.offset_ns for frame in raw] == [0, 10**8, 2 * 10**8]
    assert raw[2].stamp() == (2, 5)
    assert raw[2].frame_id() == 'eye'
    assert raw[2].raw().data.tobytes() == picture(20).tobytes()
    assert raw[2].compressed() is None
    first = list(open_source(str(path), SourceOptions()).frames())
    assert first[1].compressed().data == jpeg_message(1).data.tobytes()
    assert first[1].raw() is None
    assert abs(int(first[1].bgr().mean()) - 10) <= 2


def test_a_bag_can_be_its_file_alone(tmp_path):
    path = write_bag(tmp_path / 'bag')
    file = next(path.glob('*.mcap')).rename(tmp_path / 'alone.mcap')
    assert len(list(open_source(str(file), SourceOptions()).frames())) == 3


def test_a_broken_message_is_one_broken_frame(tmp_path):
    path = write_bag(tmp_path / 'bag', StoragePlugin.SQLITE3)
    with sqlite3.connect(next(path.glob('*.db3'))) as database:
        database.execute("UPDATE messages SET data = x'00010000ff' WHERE id = 2")
    frames = list(open_source(str(path), SourceOptions(bag_topic='/b/raw')).frames())
    with pytest.raises(ImageError, match='broken'):
        frames[1].raw()
    assert frames[2].bgr()[0, 0, 0] == 20


def test_a_bag_that_was_cut_off_says_so(tmp_path):
    path = write_bag(tmp_path / 'bag')
    file = next(path.glob('*.mcap'))
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(SourceError, match='bag'):
        list(open_source(str(path), SourceOptions()).frames())


def test_resizing_replaces_what_was_recorded(tmp_path):
    path = write_bag(tmp_path / 'bag')
    frame = next(open_source(str(path), SourceOptions(width=16, height=8)).frames())
    assert frame.bgr().shape == (8, 16, 3)
    assert frame.compressed() is None
    assert frame.stamp() == (0, 5)


@pytest.mark.parametrize(('name', 'text'), [
    ('missing', 'does not exist'),
    ('empty', 'holds no picture'),
    ('notes.txt', 'no video'),
    ('broken.mcap', 'cannot be read'),
    ('device:97', 'cannot be opened'),
    ('device:http://127.0.0.1:9/stream', 'is not there'),
    ('device:videotestsrc ! appsink', 'is not there'),
    ('/dev/video97', 'is not there'),
])
def test_a_wrong_source_is_one_clear_error(tmp_path, name, text):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'notes.txt').write_text('no video')
    (tmp_path / 'broken.mcap').write_bytes(b'no bag at all')
    with pytest.raises(SourceError, match=text):
        # A path that is absolute stays as it is.
        open_source(name if ':' in name else str(tmp_path / name), SourceOptions())


def test_a_wrong_topic_names_the_right_ones(tmp_path):
    path = write_bag(tmp_path / 'bag')
    with pytest.raises(SourceError, match='it has /a/jpeg, /b/raw'):
        open_source(str(path), SourceOptions(bag_topic='/camera'))


def test_a_recording_gives_back_the_pictures_as_they_are(tmp_path):
    clip = annotated_clip.crossing_shapes('drawn', 4, 1)
    path = annotated_clip.write_bag(tmp_path / 'drawn', clip, '.jpg')
    frames = open_source(str(path), SourceOptions()).frames()
    assert [frame.compressed().data for frame in frames] == [
        cv2.imencode('.jpg', picture)[1].tobytes() for picture in clip.frames]


def test_the_recorded_dog(shared):
    path = shared / 'data' / 'rosbag2_davis' / 'dog'
    frames = list(open_source(str(path), SourceOptions()).frames())
    files = sorted((shared / 'data' / 'davis' / 'JPEGImages' / 'dog').iterdir())
    assert [frame.compressed().data for frame in frames] == [f.read_bytes() for f in files]


def test_passes_follow_each_other_in_the_rhythm():
    schedule = Schedule(0.0)
    assert schedule.delay(0, 10**9) == 0
    assert schedule.delay(10**8, 10**9) == pytest.approx(0.1)
    schedule.next_pass()
    assert schedule.delay(0, 10**9) == pytest.approx(0.2)
    assert schedule.delay(10**8, 10**9 + 10**8) == pytest.approx(0.2)


def test_a_long_delay_is_not_caught_up():
    schedule = Schedule(10.0)
    schedule.delay(0, 0)
    delays = [schedule.delay(offset, 5 * 10**9) for offset in range(1, 6)]
    assert delays == pytest.approx([0, 0, 0, 0.1, 0.2])


def test_a_gap_that_no_camera_makes_is_left_out():
    schedule = Schedule(0.0)
    delays = [schedule.delay(offset, now) for offset, now in (
        (0, 0), (10**8, 10**7), (1_700_000_000 * 10**9, 10**8),
        (1_700_000_000 * 10**9 + 10**8, 0))]
    assert delays == pytest.approx([0, 0.09, 0.1, 0.3])
    assert schedule.skipped == 0
    schedule.delay(2_000_000_000 * 10**9, 0)
    assert schedule.skipped == pytest.approx(300_000_000 - 0.1)
    slow = Schedule(0.05)
    slow.delay(0, 0)
    assert slow.delay(20 * 10**9, 0) == pytest.approx(20)
    assert slow.skipped == 0
