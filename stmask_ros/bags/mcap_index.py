# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The index at the end of an MCAP file, and the messages in the order of their times by it."""

from __future__ import annotations

import heapq
import os
from collections.abc import Collection, Iterator
from typing import IO

from mcap.data_stream import ReadDataStream
from mcap.reader import FOOTER_SIZE
from mcap.records import Channel, Chunk, ChunkIndex, Footer, Message, Schema, Statistics
from mcap.stream_reader import MAGIC_SIZE
from mcap.summary import Summary

from stmask_ros.bags.mcap_chunks import packed_records, records_of
from stmask_ros.bags.unpacking import MOST_UNPACKED, UnpackingError

_OPCODE_AND_LENGTH = 9  # bytes before each record
_MESSAGE_OBJECT = 512  # bytes of memory that a message takes beside its data, rounded up
_Place = tuple[float, int]  # when it was recorded [ns], and where its chunk begins


def read_index(stream: IO[bytes]) -> Summary | None:
    """Return the index of a file; None without one, and whatever error a broken one leads to."""
    stream.seek(-(FOOTER_SIZE + MAGIC_SIZE), os.SEEK_END)
    footer = next(packed_records(stream))
    if not isinstance(footer, Footer) or not footer.summary_start:
        return None
    stream.seek(footer.summary_start)
    index = Summary()
    for record in packed_records(stream):
        if isinstance(record, ChunkIndex):
            index.chunk_indexes.append(record)
        elif isinstance(record, Channel):
            index.channels[record.id] = record
        elif isinstance(record, Schema):
            index.schemas[record.id] = record
        elif isinstance(record, Statistics):
            index.statistics = record
    return index


def messages_in_order(
    stream: IO[bytes], index: Summary, channels: Collection[int]
) -> Iterator[Message]:
    """Yield a file's messages of some channels; UnpackingError if too many are out of order."""
    waiting = _Waiting()
    for chunk in sorted(index.chunk_indexes, key=_place):
        if not _may_hold(chunk, channels):
            continue
        yield from waiting.before(_place(chunk))
        stream.seek(chunk.chunk_start_offset + _OPCODE_AND_LENGTH)
        for number, record in enumerate(records_of(Chunk.read(ReadDataStream(stream)))):
            # KeyError, for damage, where the index does not know the channel.
            if isinstance(record, Message) and index.channels[record.channel_id].id in channels:
                waiting.add((record.log_time, chunk.chunk_start_offset), number, record)
    yield from waiting.before((float('inf'), 0))


class _Waiting:
    """Messages of chunks that overlap in time, as many as the memory bears."""

    def __init__(self) -> None:
        self._heap: list[tuple[_Place, int, Message]] = []
        self._size = 0

    def add(self, place: _Place, number: int, message: Message) -> None:
        """Take a message, by its number in its chunk; UnpackingError if there are too many."""
        heapq.heappush(self._heap, (place, number, message))
        self._size += _memory(message)
        if self._size > MOST_UNPACKED:
            raise UnpackingError(
                f'its chunks overlap: more than {MOST_UNPACKED} bytes of messages would wait for '
                'earlier ones')

    def before(self, place: _Place) -> Iterator[Message]:
        """Yield the messages before a chunk, and forget them."""
        while self._heap and self._heap[0][0] < place:
            message = heapq.heappop(self._heap)[-1]
            self._size -= _memory(message)
            yield message


def _place(chunk: ChunkIndex) -> _Place:
    return chunk.message_start_time, chunk.chunk_start_offset


def _memory(message: Message) -> int:
    return len(message.data) + _MESSAGE_OBJECT


def _may_hold(chunk: ChunkIndex, channels: Collection[int]) -> bool:
    """Return whether a chunk has messages of some channels; one that names none may have any."""
    named = chunk.message_index_offsets.keys()
    return not named or not named.isdisjoint(channels)
