# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Rosbag2 files with our messages, read and written without a ROS installation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.interfaces import Connection, Qos
from rosbags.rosbag2 import StoragePlugin, Writer, WriterError
from rosbags.typesys.store import Typestore

from stmask_ros.bags.contents import BagError, bag_topics, listing, offered_qos, open_bag
from stmask_ros.bags.image_topics import ImageTopic, choose_image_topic, image_topic
from stmask_ros.bags.types import (
    COMPRESSED_IMAGE,
    IMAGE,
    INSTANCES,
    LABEL_INFO,
    deserialised,
    message_types,
)


@dataclass(frozen=True)
class BagMessage:
    """A message of a bag: its topic, its type, when it was recorded [ns], and its content."""

    topic: str
    type_name: str
    time: int
    content: Any


def instances_topic(path: Path, wanted: str = '') -> str:
    """Return the bag's only topic of instances, or the wanted one; BagError if there is none."""
    topics = bag_topics(path)
    fitting = [topic for topic, type_name in topics.items() if type_name == INSTANCES]
    if wanted and wanted not in fitting:
        raise BagError(
            f'{wanted} is no topic of instances in the bag {path}; it has {listing(topics)}')
    if not fitting:
        raise BagError(f'the bag {path} has no instances ({INSTANCES}); it has {listing(topics)}')
    if not wanted and len(fitting) > 1:
        raise BagError(
            f'the bag {path} has several topics of instances: choose one of {", ".join(fitting)}')
    return wanted or fitting[0]


def read_bag(path: Path, *topics: str) -> Iterator[BagMessage]:
    """
    Yield the messages of some topics, or of all whose type is known, in the order of recording.

    path: see open_bag. Raises BagError if it cannot be opened, lacks a topic, has one of unknown
    type, or is damaged (after what was readable).
    """
    types = message_types()
    if topics:
        _check_topics(path, topics, types)
    for message in open_bag(path).messages(topics):
        if message.type_name in types.types:
            try:
                content = deserialised(message.data, message.type_name)
            except Exception as error:
                raise BagError(
                    f'the bag {path} cannot be read on: a message of {message.topic} is no '
                    f'{message.type_name}: {error}'
                ) from error
            yield BagMessage(message.topic, message.type_name, message.time, content)


def _check_topics(path: Path, topics: Sequence[str], types: Typestore) -> None:
    present = bag_topics(path)
    if missing := sorted(set(topics) - set(present)):
        raise BagError(
            f'the bag {path} has no topic {", ".join(missing)}; it has '
            f'{", ".join(present) or "none"}'
        )
    for topic in topics:
        if present[topic] not in types.types:
            raise BagError(
                f'the bag {path}: {topic} is of type {present[topic]}, which is not known here'
            )


class BagWriter:
    """Writes serialised messages into a new MCAP bag."""

    def __init__(self, folder: Path, offered: Mapping[str, Sequence[Qos]] | None = None) -> None:
        """
        Prepare; the bag's folder is created on entry to the context.

        offered: quality of service by topic, with which a player publishes it. Raises BagError
        if the folder is there already.
        """
        try:
            self._writer = Writer(
                folder, version=Writer.VERSION_LATEST, storage_plugin=StoragePlugin.MCAP
            )
        except WriterError as error:
            raise BagError(f'the bag cannot be created: {error}') from error
        self._folder = folder
        self._offered = offered or {}
        self._connections: dict[str, Connection] = {}

    def __enter__(self) -> BagWriter:
        """Open the bag."""
        try:
            self._writer.open()
        except Exception as error:
            raise BagError(f'the bag {self._folder} cannot be created: {error}') from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write the index and close the bag; BagError if that cannot be done."""
        try:
            self._writer.close()
        except Exception as failure:
            if error is None:  # else that one tells the cause
                raise self._cannot_be_written(failure) from failure

    def write(self, topic: str, type_name: str, time: int, data: bytes) -> None:
        """Append a message, serialised as CDR, at a time [ns]; BagError if the disk is full."""
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic, type_name, typestore=message_types(),
                offered_qos_profiles=self._offered.get(topic, ()),
            )
        try:
            self._writer.write(self._connections[topic], time, data)
        except OSError as error:
            raise self._cannot_be_written(error) from error

    def write_content(self, message: BagMessage) -> None:
        """Serialise and append a message."""
        data = message_types().serialize_cdr(message.content, message.type_name)
        self.write(message.topic, message.type_name, message.time, bytes(data))

    def _cannot_be_written(self, error: Exception) -> BagError:
        reason = error.strerror if isinstance(error, OSError) else error
        return BagError(f'the bag {self._folder} cannot be written: {reason}')


__all__ = [
    'COMPRESSED_IMAGE', 'IMAGE', 'INSTANCES', 'LABEL_INFO', 'BagError', 'BagMessage', 'BagWriter',
    'ImageTopic', 'bag_topics', 'choose_image_topic', 'image_topic', 'instances_topic',
    'message_types', 'offered_qos', 'read_bag',
]
