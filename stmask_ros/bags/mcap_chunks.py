# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The records of an MCAP file, those of its chunks too, unpacked as far as the memory bears."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from typing import IO

from mcap.records import Chunk, McapRecord
from mcap.stream_reader import StreamReader

from stmask_ros.bags.unpacking import (
    MOST_UNPACKED,
    UnpackingError,
    unpacked_lz4,
    unpacked_zstd,
)

_UNPACK: dict[str, Callable[[bytes, int], bytes]] = {
    '': lambda data, _: data, 'lz4': unpacked_lz4, 'zstd': unpacked_zstd,
}


def all_records(stream: IO[bytes]) -> Iterator[McapRecord]:
    """Yield the records of a whole file as its recorder wrote them; raises at a broken end."""
    for record in packed_records(stream, skip_magic=False):
        if isinstance(record, Chunk):
            yield from records_of(record)
        else:
            yield record


def packed_records(stream: IO[bytes], skip_magic: bool = True) -> Iterator[McapRecord]:
    """Yield the records from where a file stands, chunks as they are; raises at a broken end."""
    reader = StreamReader(
        stream, skip_magic, emit_chunks=True, record_size_limit=MOST_UNPACKED)
    return reader.records


def records_of(chunk: Chunk) -> Iterator[McapRecord]:
    """Yield the records of a chunk; UnpackingError if it holds more than it says or may."""
    if chunk.compression not in _UNPACK:
        raise UnpackingError(
            f'a chunk is compressed with {chunk.compression!r}; expected zstd or lz4')
    if chunk.uncompressed_size > MOST_UNPACKED:
        raise UnpackingError(
            f'a chunk of {len(chunk.data)} bytes says that it holds {chunk.uncompressed_size}; '
            f'expected at most {MOST_UNPACKED}')
    data = _UNPACK[chunk.compression](chunk.data, chunk.uncompressed_size)
    stream = BytesIO(data)
    records = packed_records(stream)
    while stream.tell() < len(data):
        yield next(records)
