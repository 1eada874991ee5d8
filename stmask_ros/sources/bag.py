# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A recorded image topic as a source: rosbag2, MCAP or SQLite, read without a ROS installation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from stmask_ros.bags.contents import BagError, open_bag
from stmask_ros.bags.image_reader import reader_of
from stmask_ros.bags.image_topics import choose_image_topic
from stmask_ros.bags.types import COMPRESSED_IMAGE, IMAGE, VIDEO, deserialised
from stmask_ros.images import ImageError
from stmask_ros.images.compressed import is_packed
from stmask_ros.images.raw import Bgr, ImageMessage
from stmask_ros.images.reading import ImageReader
from stmask_ros.sources.source import Compressed, SourceError


@dataclass(frozen=True)
class _RecordedFrame:
    """A recorded message, deserialised when first needed."""

    offset_ns: int
    type_name: str
    cdr: bytes
    reader: ImageReader

    @cached_property
    def message(self) -> Any:
        try:
            return deserialised(self.cdr, self.type_name)
        except Exception as error:  # whatever a broken message leads the parser to
            raise ImageError('broken data', f'a recorded message is broken: {error}') from error

    @cached_property
    def taken(self) -> Any:
        return self.reader.take(self.message)

    def bgr(self) -> Bgr:
        return self.reader.picture(self.taken).pixels

    def raw(self) -> ImageMessage | None:
        message: ImageMessage = self.message
        return message if self.type_name == IMAGE else None

    def compressed(self) -> Compressed | None:
        if self.type_name != COMPRESSED_IMAGE or is_packed(self.message):
            return None
        return Compressed(self.message.format, self.message.data.tobytes())

    def stamp(self) -> tuple[int, int]:
        stamp = self.taken.header.stamp
        return int(stamp.sec), int(stamp.nanosec)

    def frame_id(self) -> str:
        return str(self.taken.header.frame_id)


class BagSource:
    """One topic of images, raw, compressed or video, in a bag."""

    live = False
    has_stamps = True

    def __init__(self, path: Path, topic: str) -> None:
        """
        Find the topic in the bag; raises SourceError if it is not there.

        path: as open_bag takes it. topic: '' for the likeliest, see choose_image_topic.
        """
        self._path = path
        try:
            chosen = choose_image_topic(path, topic)
        except BagError as error:
            raise SourceError(str(error)) from error
        self._topic = chosen.topic
        others = f', which also has {", ".join(chosen.others)}' if chosen.others else ''
        compressed = ' (its messages are compressed one by one)' if self._is_compressed() else ''
        self.name = f'{self._topic} of the bag {path}{compressed}{others}'

    def _is_compressed(self) -> bool:
        with suppress(BagError):  # which is raised again when the bag is played
            for message in open_bag(self._path).messages([self._topic]):
                return message.was_compressed
        return False

    def frames(self) -> Iterator[_RecordedFrame]:
        """Play the topic once; raises SourceError where the bag breaks off."""
        start: int | None = None
        reader: ImageReader | None = None
        try:
            for message in open_bag(self._path).messages([self._topic]):
                start = message.time if start is None else start
                reader = reader or reader_of(message.type_name)
                frame = _RecordedFrame(
                    message.time - start, message.type_name, message.data, reader)
                if message.type_name in VIDEO:
                    _decode(frame)
                yield frame
        except BagError as error:
            raise SourceError(str(error)) from error


def _decode(frame: _RecordedFrame) -> None:
    """Decode the packet of a frame, whether or not somebody looks at it: the next one needs it."""
    with suppress(ImageError):  # which is raised again for who looks
        _ = frame.taken
