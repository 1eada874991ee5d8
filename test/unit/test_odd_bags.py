# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Bags as robots that died and as other tools leave them: played, or refused with what helps."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import zstandard
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from stmask_ros.bags import BagError, bag_topics, image_topic, message_types, read_bag
from stmask_ros.bags.contents import foreign_topics
from stmask_ros.sources.opening import open_source
from stmask_ros.sources.source import SourceError, SourceOptions

IMAGE = 'sensor_msgs/msg/Image'
TOPIC = '/cam/image_raw'
SECOND = 10**9
BOTH = pytest.mark.parametrize('plugin', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])


def serialised(level: int) -> bytes:
    types = message_types()
    stamp = types.types['builtin_interfaces/msg/Time'](sec=level, nanosec=0)
    header = types.types['std_msgs/msg/Header'](stamp=stamp, frame_id='cam')
    image = types.types[IMAGE](
        header=header, height=4, width=6, encoding='mono8', is_bigendian=0, step=6,
        data=np.full(24, level, np.uint8))
    return bytes(types.serialize_cdr(image, IMAGE))


def write(
    folder: Path, levels: Sequence[int], plugin: StoragePlugin = StoragePlugin.MCAP,
    compression: tuple[CompressionMode, CompressionFormat] | None = None,
) -> Path:
    """Write a bag with an image for each level, recorded so many seconds after the start."""
    writer = Writer(folder, version=9, storage_plugin=plugin)
    if compression:
        writer.set_compression(*compression)
    with writer:
        connection = writer.add_connection(TOPIC, IMAGE, typestore=message_types())
        for level in levels:
            writer.write(connection, level * SECOND, serialised(level))
    return folder


def storage_file(bag: Path) -> Path:
    (file,) = (file for file in bag.iterdir() if file.name != 'metadata.yaml')
    return file


def levels_of(bag: Path) -> list[int]:
    return [int(message.content.data[0]) for message in read_bag(bag, image_topic(bag))]


def played(bag: Path) -> list[int]:
    return [int(frame.bgr()[0, 0, 0]) for frame in open_source(str(bag), SourceOptions()).frames()]


def until_damage(bag: Path) -> tuple[list[int], str]:
    """Return what can be read of a damaged bag, and what the error says."""
    levels: list[int] = []
    with pytest.raises(BagError) as caught:
        levels.extend(int(message.content.data[0]) for message in read_bag(bag, TOPIC))
    return levels, str(caught.value)


@BOTH
def test_a_whole_bag_without_metadata_is_whole(tmp_path: Path, plugin: StoragePlugin) -> None:
    bag = write(tmp_path / 'bag', [1, 2, 3], plugin)
    (bag / 'metadata.yaml').unlink()
    assert levels_of(bag) == played(bag) == [1, 2, 3]


@pytest.mark.parametrize('metadata', [
    '', 'rosbag2_bagfile_information:\n  version: 9\n  storage_ident', '[]', '\0',
    'rosbag2_bagfile_information: {version: 77, storage_identifier: mcap}',
    'rosbag2_bagfile_information:\n  relative_file_paths: []',
])
def test_metadata_that_was_cut_off_is_no_matter(tmp_path: Path, metadata: str) -> None:
    bag = write(tmp_path / 'bag', [1, 2, 3])
    (bag / 'metadata.yaml').write_text(metadata)
    assert levels_of(bag) == played(bag) == [1, 2, 3]


@BOTH
@pytest.mark.parametrize('with_metadata', [True, False])
def test_files_follow_each_other_by_their_first_times(
    tmp_path: Path, plugin: StoragePlugin, with_metadata: bool
) -> None:
    """As names the tenth file comes before the second, and a tool may have named them at will."""
    folder = tmp_path / 'bag'
    folder.mkdir()
    names = []
    for name, levels in (('bag_2', [3, 4]), ('bag_10', [5, 6]), ('z', [1, 2]), ('a', [7])):
        file = storage_file(write(tmp_path / name, levels, plugin))
        names.append(file.rename(folder / f'{name}{file.suffix}').name)
    if with_metadata:
        text = (tmp_path / 'a' / 'metadata.yaml').read_text()
        listed = ''.join(f'\n  - {name}' for name in sorted(names))
        (folder / 'metadata.yaml').write_text(
            text.replace(f'\n  - a{Path(names[0]).suffix}', listed, 1))
    assert levels_of(folder) == played(folder) == [1, 2, 3, 4, 5, 6, 7]


def test_a_broken_file_in_the_middle_costs_itself(tmp_path: Path) -> None:
    folder = tmp_path / 'bag'
    folder.mkdir()
    for number, levels in enumerate(([1, 2], [3, 4], [5, 6])):
        storage_file(write(tmp_path / str(number), levels)).rename(folder / f'{number}.mcap')
    middle = folder / '1.mcap'
    middle.write_bytes(middle.read_bytes()[:200])
    (folder / '3.mcap').touch()  # the recorder died before it wrote a byte
    levels, text = until_damage(folder)
    assert levels == [1, 2, 5, 6]
    assert '1.mcap' in text
    assert '3.mcap' in text
    with pytest.raises(SourceError, match=r'1\.mcap'):
        played(folder)


def test_a_file_that_only_the_metadata_knows_is_damage(tmp_path: Path) -> None:
    bag = write(tmp_path / 'bag', [1, 2])
    text = (bag / 'metadata.yaml').read_text()
    (bag / 'metadata.yaml').write_text(text.replace('  - bag.mcap', '  - bag.mcap\n  - b.mcap', 1))
    levels, text = until_damage(bag)
    assert levels == [1, 2]
    assert 'b.mcap is not there' in text


@BOTH
@pytest.mark.parametrize('alone', ['folder', 'without metadata', 'file'])
@pytest.mark.parametrize('mode', [CompressionMode.MESSAGE, CompressionMode.FILE])
def test_compressed_bags_are_decompressed(
    tmp_path: Path, plugin: StoragePlugin, alone: str, mode: CompressionMode
) -> None:
    bag = write(tmp_path / 'bag', [1, 2, 3], plugin, (mode, CompressionFormat.ZSTD))
    if alone != 'folder':
        (bag / 'metadata.yaml').unlink()
    path = storage_file(bag) if alone == 'file' else bag
    assert levels_of(path) == played(path) == [1, 2, 3]
    said = 'compressed one by one' in open_source(str(path), SourceOptions()).name
    assert said == (mode == CompressionMode.MESSAGE)


def test_a_compressed_file_that_was_cut_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    file = storage_file(write(tmp_path / 'bag', list(range(1, 200))))
    packed = zstandard.compress(file.read_bytes())
    cut_off = tmp_path / 'a.mcap.zstd'
    cut_off.write_bytes(packed[:-20])
    _, text = until_damage(cut_off)
    assert 'breaks off' in text


def test_messages_of_an_unknown_compression_are_refused(tmp_path: Path) -> None:
    bag = write(tmp_path / 'bag', [1])
    text = (bag / 'metadata.yaml').read_text()
    assert "compression_format: ''" in text
    (bag / 'metadata.yaml').write_text(
        text.replace("compression_format: ''", 'compression_format: lz4'))
    with pytest.raises(BagError, match='compressed with lz4; only zstd'):
        levels_of(bag)


@pytest.mark.parametrize('name', [
    'sensor_msgs/Image', 'sensor_msgs::msg::dds_::Image_', 'sensor_msgs::msg::Image',
])
def test_other_spellings_of_a_type_are_the_type(tmp_path: Path, name: str) -> None:
    bag = write(tmp_path / 'bag', [1, 2], StoragePlugin.SQLITE3)
    with sqlite3.connect(storage_file(bag)) as database:
        database.execute('UPDATE topics SET type = ?', [name])
    assert levels_of(bag) == played(bag) == [1, 2]
    assert bag_topics(bag) == {TOPIC: IMAGE}


def test_the_first_distributions_recorded_no_quality_of_service(tmp_path: Path) -> None:
    bag = write(tmp_path / 'bag', [1, 2], StoragePlugin.SQLITE3)
    with sqlite3.connect(storage_file(bag)) as database:
        database.execute('ALTER TABLE topics DROP COLUMN offered_qos_profiles')
    assert levels_of(bag) == [1, 2]


def test_what_lies_in_the_journal_of_a_killed_recorder_is_read(tmp_path: Path) -> None:
    bag = write(tmp_path / 'bag', [1, 2], StoragePlugin.SQLITE3)
    recorder = sqlite3.connect(storage_file(bag), isolation_level=None)
    recorder.execute('PRAGMA journal_mode = WAL')
    recorder.execute('INSERT INTO messages (topic_id, timestamp, data) VALUES (1, ?, ?)',
                     [3 * SECOND, serialised(3)])
    killed = Path(shutil.copytree(bag, tmp_path / 'killed'))
    recorder.close()
    assert any(file.name.endswith('-wal') for file in killed.iterdir())
    assert levels_of(killed) == [1, 2, 3]


def test_a_database_that_was_cut_off_is_damage(tmp_path: Path) -> None:
    bag = write(tmp_path / 'bag', list(range(1, 250)), StoragePlugin.SQLITE3)
    file = storage_file(bag)
    file.write_bytes(file.read_bytes()[:-8192])
    for path in (bag, file):
        with pytest.raises(BagError, match='malformed'):
            levels_of(path)
        with pytest.raises(SourceError, match='malformed'):
            played(path)


@pytest.mark.parametrize(('change', 'told'), [
    ('UPDATE messages SET data = 20000000000 WHERE id = 3', 'time and bytes, got int and int'),
    ("UPDATE messages SET data = 'text' WHERE id = 3", 'time and bytes, got int and str'),
    ("UPDATE messages SET timestamp = 'noon' WHERE id = 3", 'time and bytes, got str and bytes'),
    ('UPDATE topics SET name = 7.5', None),
    ("UPDATE topics SET type = X'00ff'", 'expected topics as text'),
    ("UPDATE topics SET offered_qos_profiles = X'00ff'", None),
])
def test_a_database_of_other_values_is_damage(
    tmp_path: Path, change: str, told: str | None
) -> None:
    """Bytes of a number would be as many zeros."""
    bag = write(tmp_path / 'bag', [1, 2, 3], StoragePlugin.SQLITE3)
    with sqlite3.connect(storage_file(bag)) as database:
        database.execute(change)
    if told is None:  # SQLite made text of it, or it is read without
        assert len(list(read_bag(bag))) == 3
    else:
        with pytest.raises(BagError, match=told):
            list(read_bag(bag))


def mcap(
    path: Path, encodings: Sequence[str] = ('cdr',), profile: str = 'ros2',
    finish: Callable[[McapWriter], None] = McapWriter.finish, **options: object,
) -> Path:
    """Write three images, and beside them a message of every other encoding."""
    with path.open('wb') as stream:
        writer = McapWriter(stream, **options)  # type: ignore[arg-type]
        writer.start(profile=profile, library='test')
        channels = {}
        for encoding in encodings:
            cdr = encoding == 'cdr'
            schema = writer.register_schema(IMAGE if cdr else 'Other', 'ros2msg' if cdr else '',
                                            b'')
            topic = TOPIC if cdr else f'/{encoding}'
            channels[encoding] = writer.register_channel(topic, encoding, schema)
        for level in (1, 2, 3):
            for encoding, channel in channels.items():
                data = serialised(level) if encoding == 'cdr' else b'{}'
                writer.add_message(channel, level * SECOND, data, level * SECOND)
        finish(writer)
    return path


@pytest.mark.parametrize('options', [
    {}, {'use_chunking': False}, {'index_types': 0}, {'chunk_size': 1},
    {'use_statistics': False}, {'use_summary_offsets': False}, {'repeat_channels': False},
    {'repeat_schemas': False}, {'compression': CompressionType.NONE},
    {'compression': CompressionType.LZ4},
], ids=str)
@pytest.mark.parametrize('profile', ['ros2', ''])
def test_every_kind_of_mcap_is_read(
    tmp_path: Path, options: dict[str, object], profile: str
) -> None:
    if options == {'index_types': 0}:
        from mcap.writer import IndexType
        options = {'index_types': IndexType.NONE}
    path = mcap(tmp_path / 'a.mcap', ('cdr', 'json'), profile, **options)
    assert levels_of(path) == played(path) == [1, 2, 3]


def test_channels_of_other_encodings_are_left_aside(tmp_path: Path) -> None:
    path = mcap(tmp_path / 'a.mcap', ('json', 'protobuf', 'cdr', 'ros1', 'cbor'))
    assert levels_of(path) == played(path) == [1, 2, 3]
    assert bag_topics(path) == {TOPIC: IMAGE}
    assert set(foreign_topics(path)) == {'/json', '/protobuf', '/ros1', '/cbor'}
    assert [message.topic for message in read_bag(path)] == [TOPIC] * 3


def test_a_bag_of_nothing_else_says_what_it_has(tmp_path: Path) -> None:
    path = mcap(tmp_path / 'a.mcap', ('json', 'ros1'), '')
    with pytest.raises(BagError, match=r'no images .* it has /json \(json\), /ros1 \(ros1\)'):
        image_topic(path)
    with pytest.raises(SourceError, match='no images'):
        played(path)


def test_an_mcap_that_was_never_finished_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = mcap(tmp_path / 'a.mcap', finish=lambda _: None, use_chunking=False)
    levels, text = until_damage(path)
    assert levels == [1, 2, 3]
    assert 'beyond 3 messages' in text


def refused(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    old = tmp_path / 'drive.bag'
    old.write_bytes(b'#ROSBAG V2.0\n')
    yield old, 'rosbags-convert --src drive.bag'
    yield tmp_path / 'none', 'does not exist'
    (tmp_path / 'notes').mkdir()
    yield tmp_path / 'notes', 'expected files that end in .mcap or .db3'
    for name, content in (('empty.mcap', b''), ('text.db3', b'no bag'), ('a.mcap.zstd', b'x')):
        (tmp_path / name).write_bytes(content)
        yield tmp_path / name, 'breaks off'
    (tmp_path / 'lost').mkdir()
    (tmp_path / 'lost' / 'metadata.yaml').write_text(
        'rosbag2_bagfile_information: {relative_file_paths: [lost_0.mcap]}')
    yield tmp_path / 'lost', 'expected files that end in'


def test_what_is_no_bag_is_one_clear_error(tmp_path: Path) -> None:
    for path, text in refused(tmp_path):
        with pytest.raises(BagError, match=r'cannot be read|does not exist|of ROS 1') as caught:
            image_topic(path)
        assert text in str(caught.value)


@BOTH
def test_times_of_zero_and_jumps_are_kept(tmp_path: Path, plugin: StoragePlugin) -> None:
    """An older recorder that had no clock yet wrote zero, and then the time of day."""
    with Writer(tmp_path / 'bag', version=9, storage_plugin=plugin) as writer:
        connection = writer.add_connection(TOPIC, IMAGE, typestore=message_types())
        for level, time in ((1, 0), (2, 0), (3, 1_700_000_000 * SECOND)):
            writer.write(connection, time, serialised(level))
    assert levels_of(tmp_path / 'bag') == played(tmp_path / 'bag') == [1, 2, 3]
