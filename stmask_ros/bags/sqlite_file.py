# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""An SQLite file (.db3) of a bag, also one whose recorder was killed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from stmask_ros.bags.serialised import (
    Channel,
    CutOffError,
    SerialisedMessage,
    plain_type_name,
    qos_of,
    unpacked,
)

# A journal beside the file holds what was recorded last; it can be read where the folder can be
# written. Elsewhere the file is taken as it lies there.
_WAYS = ('mode=ro', 'immutable=1')


class SqliteFile:
    """One SQLite file; see StorageFile."""

    def __init__(self, path: Path) -> None:
        """Remember the path; nothing is read yet."""
        self._path = path

    @cached_property
    def channels(self) -> list[Channel]:
        """Return its topics; none if the file is broken."""
        with suppress(CutOffError):
            return list(self._topics.values())
        return []

    @cached_property
    def first_time(self) -> int | None:
        """Return when its first message was recorded [ns]."""
        with suppress(CutOffError):
            time = next(self._rows('SELECT MIN(timestamp) FROM messages'))[0]
            return time if isinstance(time, int) else None
        return None

    def messages(self, topics: Sequence[str]) -> Iterator[SerialisedMessage]:
        """Yield the messages in CDR of some topics, or of all; CutOffError at a broken end."""
        chosen = {
            key: channel for key, channel in self._topics.items()
            if channel.encoding == 'cdr' and (not topics or channel.topic in topics)
        }
        marks = ', '.join('?' * len(chosen))
        rows = self._rows(
            'SELECT topic_id, timestamp, data FROM messages '
            f'WHERE topic_id IN ({marks}) ORDER BY timestamp, id', *chosen)
        for key, time, data in rows:
            # A column of SQLite holds what was written to it, whatever its type says.
            if not isinstance(time, int) or not isinstance(data, bytes):
                raise CutOffError(
                    f'{self._path.name} breaks off: expected messages as time and bytes, got '
                    f'{type(time).__name__} and {type(data).__name__}')
            yield self._message(chosen[key], time, data)

    def _message(self, channel: Channel, time: int, data: bytes) -> SerialisedMessage:
        try:
            return unpacked(channel, time, data)
        except Exception as error:  # whatever broken data leads the decompressor to
            raise CutOffError(f'{self._path.name} breaks off: {error!r}') from error

    @cached_property
    def _topics(self) -> dict[int, Channel]:
        columns = {row[1] for row in self._rows('PRAGMA table_info(topics)')}
        # The first distributions recorded no quality of service.
        offered = 'offered_qos_profiles' if 'offered_qos_profiles' in columns else "''"
        rows = self._rows(f'SELECT id, name, type, serialization_format, {offered} FROM topics')
        topics = {}
        for key, *texts, quality in rows:
            if not all(isinstance(text, str) for text in texts):
                raise CutOffError(
                    f'{self._path.name} breaks off: expected topics as text, got {texts!r:.60}')
            name, type_name, encoding = texts
            topics[key] = Channel(
                name, plain_type_name(type_name), encoding, qos_of(str(quality or '')))
        return topics

    def _rows(self, query: str, *values: object) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query; CutOffError where the file cannot be read."""
        try:
            with closing(self._open()) as database:
                yield from database.execute(query, values)
        except (sqlite3.Error, OverflowError) as error:
            raise CutOffError(f'{self._path.name} breaks off: {error}') from error

    def _open(self) -> sqlite3.Connection:
        for way in _WAYS[:-1]:
            with suppress(sqlite3.Error):
                return self._opened(way)
        return self._opened(_WAYS[-1])

    def _opened(self, way: str) -> sqlite3.Connection:
        database = sqlite3.connect(f'{self._path.absolute().as_uri()}?{way}', uri=True)
        try:
            database.execute('SELECT id FROM topics LIMIT 1').fetchone()
        except sqlite3.Error:
            database.close()
            raise
        return database
