"""Rosbag2 files with our messages, read and written without a ROS installation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

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


def read_bag(path: Path, *topics: str) -> Iterator[BagMessage]:
    """
    Yield the messages of some topics, or of all whose type is known, in the order of recording.

    path: folder with metadata.yaml, or a .mcap or .db3 file. Raises BagError if it cannot be
    opened, lacks a topic, or breaks off (after what was readable).
    """
    types = message_types()
    try:
        with Reader(path) as reader:
            present = {connection.topic for connection in reader.connections}
            if missing := sorted(set(topics) - present):
                raise BagError(
                    f'the bag {path} has no topic {", ".join(missing)}; it has '
                    f'{", ".join(sorted(present)) or "none"}'
                )
            chosen = [
                connection for connection in reader.connections
                if connection.msgtype in types.types and (not topics or connection.topic in topics)
            ]
            for connection, time, data in reader.messages(chosen):
                content = types.deserialize_cdr(data, connection.msgtype)
                yield BagMessage(connection.topic, connection.msgtype, time, content)
    except BagError:
        raise
    except Exception as error:  # whatever a broken file leads the parsers to
        raise BagError(f'the bag {path} cannot be read on: {error}') from error


class BagWriter:
    """Writes serialised messages into a new MCAP bag."""

    def __init__(self, folder: Path) -> None:
        """Create the bag's folder on entry to the context; BagError if it is there already."""
        self._writer = Writer(
            folder, version=Writer.VERSION_LATEST, storage_plugin=StoragePlugin.MCAP
        )
        self._folder = folder
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
        """Write the index and close the bag."""
        self._writer.close()

    def write(self, topic: str, type_name: str, time: int, data: bytes) -> None:
        """Append a message, serialised as CDR, at a time [ns]."""
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic, type_name, typestore=message_types()
            )
        self._writer.write(self._connections[topic], time, data)

    def write_content(self, message: BagMessage) -> None:
        """Serialise and append a message."""
        data = message_types().serialize_cdr(message.content, message.type_name)
        self.write(message.topic, message.type_name, message.time, bytes(data))
