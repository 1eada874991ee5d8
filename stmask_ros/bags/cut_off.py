"""Bags whose recording was cut off: all but the last chunk of messages is still there."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mcap.records import Channel, Message, Schema
from mcap.stream_reader import StreamReader
from rosbags.rosbag2 import Reader

_LOGGER = logging.getLogger(__name__)
_SUFFIXES = ('.mcap', '.db3')


@dataclass(frozen=True)
class SerialisedMessage:
    """A message of a bag as it lies there, in CDR; time: of the recording [ns]."""

    topic: str
    type_name: str
    time: int
    data: bytes


class CutOffError(Exception):
    """Raised after the last readable message of a file that breaks off."""


def storage_files(path: Path) -> list[Path]:
    """Return the files of a bag's folder in order, or the file itself."""
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES)


def read_storage_file(file: Path) -> Iterator[SerialisedMessage]:
    """
    Yield the messages of one MCAP or SQLite file, with or without its index.

    Raises CutOffError at its end if the file breaks off.
    """
    try:
        reader = Reader(file)
        reader.open()
    except Exception as error:  # whatever a broken file leads the parsers to
        if file.suffix != '.mcap':
            raise CutOffError(str(error)) from error
        yield from _read_without_index(file)
        return
    try:
        for connection, time, data in reader.messages():
            yield SerialisedMessage(connection.topic, connection.msgtype, time, data)
    except Exception as error:
        raise CutOffError(f'{file.name} breaks off: {error}') from error
    finally:
        reader.close()


def _read_without_index(file: Path) -> Iterator[SerialisedMessage]:
    """Yield the messages of an MCAP file from its start, as a recorder writes it."""
    schemas: dict[int, Schema] = {}
    channels: dict[int, Channel] = {}
    with file.open('rb') as stream:
        try:
            for record in StreamReader(stream).records:
                if isinstance(record, Schema):
                    schemas[record.id] = record
                elif isinstance(record, Channel):
                    channels[record.id] = record
                elif isinstance(record, Message):
                    channel = channels[record.channel_id]
                    schema = schemas[channel.schema_id]
                    yield SerialisedMessage(
                        channel.topic, schema.name, record.log_time, record.data
                    )
        except Exception as error:
            raise CutOffError(f'{file.name} breaks off at byte {stream.tell()}') from error
