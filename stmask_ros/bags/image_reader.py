# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""How each type of image message in bags becomes pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stmask_ros.bags.contents import BagError
from stmask_ros.bags.files import BagMessage, read_bag
from stmask_ros.bags.types import FFMPEG_PACKET, IMAGE, IMAGES, VIDEO
from stmask_ros.images import compressed_picture, packets, raw_picture
from stmask_ros.images.raw import Bgr
from stmask_ros.images.reading import ImageReader, StillReader
from stmask_ros.images.video import HOW_TO_INSTALL, VideoReader


def reader_of(type_name: str) -> ImageReader:
    """Return a reader for one topic of images; BagError if what it needs is not installed."""
    if type_name not in VIDEO:
        return StillReader(raw_picture if type_name == IMAGE else compressed_picture)
    packet_of = (
        packets.ffmpeg_packet if type_name == FFMPEG_PACKET else packets.foxglove_packet)
    try:
        return VideoReader(packet_of, packets.header_of)
    except ModuleNotFoundError as error:
        raise BagError(f'{type_name}: {HOW_TO_INSTALL}') from error


@dataclass(frozen=True)
class RecordedImage:
    """An image of a topic; taken: what its reader took, whose `header` is that of the image."""

    reader: ImageReader
    taken: Any

    def pixels(self) -> Bgr:
        """Return the picture, uint8 BGR [H, W, 3]; or ImageError."""
        return self.reader.picture(self.taken).pixels


def images_of(messages: Iterable[BagMessage]) -> Iterator[RecordedImage]:
    """Yield all images of one topic, in their order; or BagError."""
    reader: ImageReader | None = None
    for message in messages:
        reader = reader or reader_of(message.type_name)
        yield RecordedImage(reader, reader.take(message.content))


def pictures(bag: Path, topic: str) -> Iterator[Bgr]:
    """Yield the images of a topic of them as uint8 BGR [H, W, 3]; or ImageError, or BagError."""
    messages = (found for found in read_bag(bag, topic) if found.type_name in IMAGES)
    for image in images_of(messages):
        yield image.pixels()
