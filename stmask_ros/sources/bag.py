"""A recorded image topic as a source: rosbag2, MCAP or SQLite, read without a ROS installation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore

from stmask_ros.images import ImageError, compressed_to_bgr, to_bgr
from stmask_ros.images.raw import Bgr, ImageMessage
from stmask_ros.sources.source import Compressed, SourceError

_RAW = 'sensor_msgs/msg/Image'
_COMPRESSED = 'sensor_msgs/msg/CompressedImage'

# Its image messages are those of every ROS 2 distribution.
_TYPES = get_typestore(Stores.ROS2_JAZZY)


@dataclass(frozen=True)
class _RecordedFrame:
    """A recorded message, deserialised when first needed."""

    offset_ns: int
    type_name: str
    cdr: bytes

    @cached_property
    def message(self) -> Any:
        try:
            return _TYPES.deserialize_cdr(self.cdr, self.type_name)
        except Exception as error:  # whatever a broken message leads the parser to
            raise ImageError('broken data', f'a recorded message is broken: {error}') from error

    def bgr(self) -> Bgr:
        convert = to_bgr if self.type_name == _RAW else compressed_to_bgr
        return convert(self.message)

    def raw(self) -> ImageMessage | None:
        message: ImageMessage = self.message
        return message if self.type_name == _RAW else None

    def compressed(self) -> Compressed | None:
        if self.type_name == _RAW:
            return None
        return Compressed(self.message.format, self.message.data.tobytes())

    def stamp(self) -> tuple[int, int]:
        stamp = self.message.header.stamp
        return int(stamp.sec), int(stamp.nanosec)

    def frame_id(self) -> str:
        return str(self.message.header.frame_id)


class BagSource:
    """One topic of sensor_msgs/Image or sensor_msgs/CompressedImage in a bag."""

    live = False
    has_stamps = True

    def __init__(self, path: Path, topic: str) -> None:
        """
        Find the topic in the bag; raises SourceError if it is not there.

        path: folder with metadata.yaml, or a .mcap or .db3 file. topic: '' for the first one.
        """
        self._path = path
        types = self._image_topics()
        if not types:
            raise SourceError(f'the bag {path} holds no topic of {_RAW} or {_COMPRESSED}')
        if topic and topic not in types:
            raise SourceError(
                f"the bag {path} holds no image topic '{topic}': it has {', '.join(types)}")
        self._topic = topic or next(iter(types))
        self.name = f'{self._topic} of the bag {path}'

    def _image_topics(self) -> dict[str, str]:
        """Return the type of every image topic, in the order of the topics' names."""
        try:
            with Reader(self._path) as bag:
                return {
                    connection.topic: connection.msgtype
                    for connection in sorted(bag.connections, key=lambda item: item.topic)
                    if connection.msgtype in (_RAW, _COMPRESSED)
                }
        except Exception as error:  # whatever a broken file leads the parsers to
            raise SourceError(f'the bag {self._path} cannot be read: {error}') from error

    def frames(self) -> Iterator[_RecordedFrame]:
        """Play the topic once; raises SourceError where the bag breaks off."""
        start: int | None = None
        try:
            with Reader(self._path) as bag:
                connections = [item for item in bag.connections if item.topic == self._topic]
                for connection, time_ns, cdr in bag.messages(connections):
                    start = time_ns if start is None else start
                    yield _RecordedFrame(time_ns - start, connection.msgtype, cdr)
        except Exception as error:  # whatever a broken file leads the parsers to
            raise SourceError(f'the bag {self._path} breaks off: {error}') from error
