"""Rosbag2 files with our messages, read and written without a ROS installation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.interfaces import Connection, ConnectionExtRosbag2, Qos
from rosbags.rosbag2 import Reader, StoragePlugin, Writer, WriterError
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from stmask_ros.bags.cut_off import (
    CutOffError,
    SerialisedMessage,
    read_storage_file,
    storage_files,
)
from stmask_ros.resources import PACKAGE, share_directory

INSTANCES = f'{PACKAGE}/msg/TrackedInstanceArray'
IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED_IMAGE = 'sensor_msgs/msg/CompressedImage'


class BagError(Exception):
    """A bag cannot be read or written; the message says which, why, and what was expected."""


@dataclass(frozen=True)
class BagMessage:
    """A message of a bag: its topic, its type, when it was recorded [ns], and its content."""

    topic: str
    type_name: str
    time: int
    content: Any


@cache
def message_types() -> Typestore:
    """Return the types of ROS 2 and of this package; the image messages are all distributions'."""
    store = get_typestore(Stores.ROS2_JAZZY)
    for path in sorted((share_directory() / 'msg').glob('*.msg')):
        store.register(get_types_from_msg(path.read_text(), f'{PACKAGE}/msg/{path.stem}'))
    return store


def bag_topics(path: Path) -> dict[str, str]:
    """
    Return the type of every topic, in the order of their names.

    Of a bag that was cut off, the topics of what is readable. Raises BagError if that is nothing.
    """
    try:
        with Reader(path) as reader:
            found = {connection.topic: connection.msgtype for connection in reader.connections}
    except Exception as error:  # whatever a broken file leads the parsers to
        found = {}
        with suppress(BagError):
            for message in _serialised(path):
                found[message.topic] = message.type_name
        if not found:
            raise BagError(f'the bag {path} cannot be read: {error}') from error
    return dict(sorted(found.items()))


def offered_qos(path: Path) -> dict[str, Sequence[Qos]]:
    """Return the quality of service that each topic was recorded with; nothing if damaged."""
    try:
        with Reader(path) as reader:
            return {
                connection.topic: connection.ext.offered_qos_profiles
                for connection in reader.connections
                if isinstance(connection.ext, ConnectionExtRosbag2)
            }
    except Exception:  # whatever a broken file leads the parsers to
        return {}


def image_topic(path: Path, wanted: str = '') -> str:
    """
    Return the bag's only topic of images, raw or compressed, or the wanted one.

    The pictures that a segmenter published are left aside, unless wanted. Raises BagError if it
    is not there, is not of images, or must be chosen.
    """
    topics = bag_topics(path)
    segmenters = {_namespace(name) for name, kind in topics.items() if kind == INSTANCES}
    inputs = {
        name: kind for name, kind in topics.items()
        if name == wanted or _namespace(name) not in segmenters
    }
    return _only_topic(path, inputs, (IMAGE, COMPRESSED_IMAGE), wanted, 'images')


def instances_topic(path: Path, wanted: str = '') -> str:
    """Return the bag's only topic of instances, or the wanted one; BagError as image_topic."""
    return _only_topic(path, bag_topics(path), (INSTANCES,), wanted, 'instances')


def _namespace(topic: str) -> str:
    return topic.rpartition('/')[0]


def _only_topic(
    path: Path, topics: Mapping[str, str], type_names: Sequence[str], wanted: str, content: str
) -> str:
    fitting = [topic for topic, type_name in topics.items() if type_name in type_names]
    listing = ', '.join(f'{name} ({kind})' for name, kind in topics.items()) or 'nothing'
    if wanted and wanted not in fitting:
        raise BagError(f'{wanted} is no topic of {content} in the bag {path}; it has {listing}')
    if not fitting:
        raise BagError(
            f'the bag {path} has no {content} ({" or ".join(type_names)}); it has {listing}'
        )
    if not wanted and len(fitting) > 1:
        raise BagError(
            f'the bag {path} has several topics of {content}: choose one of {", ".join(fitting)}'
        )
    return wanted or fitting[0]


def read_bag(path: Path, *topics: str) -> Iterator[BagMessage]:
    """
    Yield the messages of some topics, or of all whose type is known, in the order of recording.

    path: folder of a bag, or a .mcap or .db3 file. Raises BagError if it cannot be opened, lacks
    a topic, has one of unknown type, or breaks off (after what was readable).
    """
    types = message_types()
    if topics:
        _check_topics(path, topics, types)
    for message in _serialised(path, topics):
        if message.type_name in types.types:
            try:
                content = types.deserialize_cdr(message.data, message.type_name)
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


def _serialised(path: Path, topics: Sequence[str] = ()) -> Iterator[SerialisedMessage]:
    """Yield the messages of some topics or of all; BagError at the end of a damaged bag."""
    try:
        reader = Reader(path)
        reader.open()
    except Exception as error:  # whatever a broken file leads the parsers to
        yield from _salvaged(path, topics, error)
        return
    try:
        chosen = [item for item in reader.connections if not topics or item.topic in topics]
        for connection, time, data in reader.messages(chosen):
            yield SerialisedMessage(connection.topic, connection.msgtype, time, data)
    except Exception as error:
        raise BagError(f'the bag {path} cannot be read on: {error}') from error
    finally:
        reader.close()


def _salvaged(
    path: Path, topics: Sequence[str], error: Exception
) -> Iterator[SerialisedMessage]:
    """Yield what the files of a bag hold that was not finished, then raise BagError."""
    count = 0
    try:
        for file in storage_files(path):
            for message in read_storage_file(file):
                if not topics or message.topic in topics:
                    count += 1
                    yield message
    except CutOffError as cause:
        error = cause
    except OSError:
        pass
    after = f' beyond {count} messages' if count else ''
    raise BagError(f'the bag {path} cannot be read{after}: {error}') from error


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
