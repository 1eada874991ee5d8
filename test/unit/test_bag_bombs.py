# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Bags of a few kilobytes that unfold to gigabytes: one sentence, and none of the memory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import lz4.frame
import pytest
import zstandard
from mcap.data_stream import RecordBuilder
from mcap.records import (
    Channel,
    Chunk,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    McapRecord,
    Message,
    Schema,
)
from mcap.writer import MCAP0_MAGIC
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from stmask_ros.bags import BagError, message_types, read_bag
from stmask_ros.bags import mcap_index as index_module
from stmask_ros.bags.types import IMAGE

SIZE = 2**28  # bytes of zeros
SAID = 2**20
TOPIC = '/image'

READ = """
import resource, sys
from pathlib import Path
from stmask_ros.bags import BagError, message_types, read_bag
message_types()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    sys.exit(f'{len(list(read_bag(Path(sys.argv[1]))))} messages')
except BagError as error:
    print(error)
growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
assert growth < 65536, f'{growth} KiB for {error}'
"""


def refused(bag: Path) -> str:
    """Return what is said of a bag, by a process of its own that may not grow."""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, '-c', READ, str(bag)], cwd=root, env=os.environ,
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    return line


def built(*records: McapRecord) -> bytes:
    builder = RecordBuilder()
    for record in records:
        record.write(builder)
    return builder.end()


def footer(start: int) -> Footer:
    return Footer(summary_start=start, summary_offset_start=0, summary_crc=0)


def chunk(packed: bytes, compression: str = 'zstd', said: int = SAID) -> Chunk:
    return Chunk(compression=compression, data=packed, message_start_time=0, message_end_time=9,
                 uncompressed_crc=0, uncompressed_size=said)


def mcap(path: Path, chunks: list[Chunk], indexed: bool) -> Path:
    """Write an MCAP file of such chunks, with an index of them or cut off before it."""
    schema = Schema(id=1, name=IMAGE, encoding='ros2msg', data=b'')
    channel = Channel(id=1, topic=TOPIC, message_encoding='cdr', metadata={}, schema_id=1)
    data = MCAP0_MAGIC + built(Header(profile='ros2', library='test'), schema, channel)
    index: list[McapRecord] = [schema, channel]
    for each in chunks:
        record = built(each)
        index.append(ChunkIndex(
            chunk_length=len(record), chunk_start_offset=len(data), compression=each.compression,
            compressed_size=len(each.data), message_end_time=9, message_index_length=0,
            message_index_offsets={}, message_start_time=0,
            uncompressed_size=each.uncompressed_size))
        data += record
    if indexed:
        data += built(DataEnd(0))
        data += built(*index, footer(len(data))) + MCAP0_MAGIC
    path.write_bytes(data)
    return path


def message(data: bytes, time: int = 0) -> Message:
    return Message(channel_id=1, log_time=time, publish_time=time, sequence=0, data=data)


def without_size(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=False).compress(data)


def bombs() -> dict[str, Callable[[], Chunk]]:
    """Return chunks that hold gigabytes, say so, or hide it."""
    return {
        'says so': lambda: chunk(zstandard.compress(b''), said=2**40),
        'zstd': lambda: chunk(zstandard.compress(bytes(SIZE))),
        'zstd of unknown size': lambda: chunk(without_size(bytes(SIZE))),
        'lz4': lambda: chunk(lz4.frame.compress(bytes(SIZE), store_size=True), 'lz4'),
        'lz4 of unknown size': lambda: chunk(
            lz4.frame.compress(bytes(SIZE), store_size=False), 'lz4'),
        'a chunk in a chunk': lambda: chunk(zstandard.compress(built(
            chunk(zstandard.compress(bytes(SIZE)), said=SIZE), message(b'x')))),
        'another compression': lambda: chunk(bytes(100), 'brotli'),
    }


@pytest.mark.parametrize('indexed', [True, False], ids=['indexed', 'cut off'])
@pytest.mark.parametrize('bomb', bombs())
def test_a_chunk_that_unfolds_is_one_sentence(tmp_path: Path, bomb: str, indexed: bool) -> None:
    bag = mcap(tmp_path / 'a.mcap', [bombs()[bomb]()], indexed)
    assert 'cannot be read' in refused(bag)


def test_an_index_that_leads_to_a_bomb_is_one_sentence(tmp_path: Path) -> None:
    bag = mcap(tmp_path / 'a.mcap', [bombs()['zstd']()], indexed=False)
    start = bag.read_bytes().index(built(bombs()['zstd']())[:9])
    bag.write_bytes(bag.read_bytes() + built(DataEnd(0), footer(start)) + MCAP0_MAGIC)
    assert 'breaks off' in refused(bag)


@pytest.mark.parametrize('plugin', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_a_message_that_unfolds_is_one_sentence(tmp_path: Path, plugin: StoragePlugin) -> None:
    with Writer(tmp_path / 'bag', version=9, storage_plugin=plugin) as writer:
        connection = writer.add_connection(TOPIC, IMAGE, typestore=message_types())
        writer.write(connection, 1, zstandard.compress(bytes(4 * SIZE + 1)))
    assert 'breaks off' in refused(tmp_path / 'bag')


def test_chunks_that_all_claim_to_come_first_do_not_pile_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their index each may hold the next message, so that none could be given out."""
    monkeypatch.setattr(index_module, 'MOST_UNPACKED', 2**20)
    content = built(*(message(bytes(1000), time) for time in range(1, 501)))
    chunks = [chunk(zstandard.compress(content), said=len(content))]
    for count, told in ((1, 'is no sensor_msgs'), (3, 'its chunks overlap')):
        bag = mcap(tmp_path / f'{count}.mcap', chunks * count, indexed=True)
        with pytest.raises(BagError, match=told):
            list(read_bag(bag))


def test_a_compressed_file_takes_no_more_than_half_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(tmp_path / 'bag', version=9, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(CompressionMode.FILE, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection(TOPIC, IMAGE, typestore=message_types())
        writer.write(connection, 1, bytes(2**20))
    usage = shutil.disk_usage(tmp_path)
    for free, told in ((2**20, 'more than half of what is free in'), (2**22, 'is no sensor_msgs')):
        # How full a disk is cannot be set without its owner's rights.
        monkeypatch.setattr(shutil, 'disk_usage', lambda _, free=free: usage._replace(free=free))
        with pytest.raises(BagError, match=told):
            list(read_bag(tmp_path / 'bag'))
