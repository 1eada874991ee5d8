# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""An MCAP file of a bag, with or without its index: all but the last chunk is still there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from mcap import records
from mcap.records import Message
from mcap.summary import Summary

from stmask_ros.bags.mcap_chunks import all_records
from stmask_ros.bags.mcap_index import messages_in_order, read_index
from stmask_ros.bags.serialised import (
    Channel,
    CutOffError,
    SerialisedMessage,
    plain_type_name,
    qos_of,
    unpacked,
)
from stmask_ros.bags.unpacking import UnpackingError

_CDR = 'cdr'


class McapFile:
    """One MCAP file; see StorageFile."""

    def __init__(self, path: Path) -> None:
        """Remember the path; nothing is read yet."""
        self._path = path

    @cached_property
    def channels(self) -> list[Channel]:
        """Return its topics."""
        if self._index is not None:
            schemas = self._index.schemas
            return [_channel(channel, schemas) for channel in self._index.channels.values()]
        found: dict[Channel, None] = {}
        with suppress(CutOffError):
            for channel, _ in self._scanned():
                found[channel] = None
        return list(found)

    @cached_property
    def first_time(self) -> int | None:
        """Return when its first message was recorded [ns]."""
        if self._index is not None and self._index.statistics is not None:
            statistics = self._index.statistics
            return statistics.message_start_time if statistics.message_count else None
        with suppress(CutOffError):
            return next((message.log_time for _, message in self._scanned()), None)
        return None

    def messages(self, topics: Sequence[str]) -> Iterator[SerialisedMessage]:
        """Yield the messages in CDR of some topics, or of all; CutOffError at a broken end."""
        found = self._indexed(topics) if self._index else self._scanned()
        try:
            for channel, message in found:
                if channel.encoding == _CDR and (not topics or channel.topic in topics):
                    yield unpacked(channel, message.log_time, message.data)
        except CutOffError:
            raise
        except Exception as error:  # whatever a broken file leads the parser to
            reason = str(error) if isinstance(error, UnpackingError) else repr(error)
            raise CutOffError(f'{self._path.name} breaks off: {reason}') from error

    @cached_property
    def _index(self) -> Summary | None:
        """Return the index; None where there is none, or one that does not help to read."""
        with suppress(Exception), self._path.open('rb') as stream:
            summary = read_index(stream)
            if summary and summary.chunk_indexes and _names_its_channels(summary):
                return summary
        return None

    def _indexed(self, topics: Sequence[str]) -> Iterator[tuple[Channel, Message]]:
        assert self._index is not None
        channels = {
            key: _channel(channel, self._index.schemas)
            for key, channel in self._index.channels.items()
        }
        wanted = {key for key, channel in channels.items()
                  if not topics or channel.topic in topics}
        with self._path.open('rb') as stream:
            for message in messages_in_order(stream, self._index, wanted):
                yield channels[message.channel_id], message

    def _scanned(self) -> Iterator[tuple[Channel, Message]]:
        """Yield the messages from the start of the file, as its recorder wrote it."""
        schemas: dict[int, records.Schema] = {}
        channels: dict[int, Channel] = {}
        with self._path.open('rb') as stream:
            try:
                for record in all_records(stream):
                    if isinstance(record, records.Schema):
                        schemas[record.id] = record
                    elif isinstance(record, records.Channel):
                        channels[record.id] = _channel(record, schemas)
                    elif isinstance(record, Message):
                        yield channels[record.channel_id], record
            except Exception as error:
                reason = f': {error}' if isinstance(error, UnpackingError) else ''
                raise CutOffError(
                    f'{self._path.name} breaks off at byte {stream.tell()}{reason}') from error


def _names_its_channels(summary: Summary) -> bool:
    """Return whether the index repeats channels and schemas, which the format leaves open."""
    schemas = {channel.schema_id for channel in summary.channels.values()} - {0}
    return bool(summary.channels) and schemas <= summary.schemas.keys()


def _channel(channel: records.Channel, schemas: dict[int, records.Schema]) -> Channel:
    schema = schemas.get(channel.schema_id)
    return Channel(
        channel.topic, plain_type_name(schema.name) if schema else '',
        channel.message_encoding, qos_of(channel.metadata.get('offered_qos_profiles', '')),
    )
