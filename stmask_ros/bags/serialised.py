# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What lies in the files of a bag, before anything is deserialised."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from rosbags.interfaces import Qos
from rosbags.rosbag2.metadata import parse_qos

from stmask_ros.bags.unpacking import unpacked_zstd

_ZSTD = b'\x28\xb5\x2f\xfd'


class CutOffError(Exception):
    """Raised after the last readable message of a file that breaks off."""


@dataclass(frozen=True)
class Channel:
    """
    One topic of a file.

    encoding: of its messages; 'cdr' is ROS 2's. offered: quality of service it was recorded with.
    """

    topic: str
    type_name: str
    encoding: str
    offered: tuple[Qos, ...]


@dataclass(frozen=True)
class SerialisedMessage:
    """
    A message of a bag in CDR.

    time: of the recording [ns]. was_compressed: whether it was by itself, not with its file.
    """

    topic: str
    type_name: str
    time: int
    data: bytes
    was_compressed: bool


class StorageFile(Protocol):
    """One file of a bag, readable as far as it is whole."""

    @property
    def channels(self) -> Sequence[Channel]:
        """Return its topics, also those of other encodings; of a broken file, those found."""

    @property
    def first_time(self) -> int | None:
        """Return when its first message was recorded [ns]; None if it has none."""

    def messages(self, topics: Sequence[str]) -> Iterator[SerialisedMessage]:
        """
        Yield the messages in CDR of some topics, or of all, in the order of their times.

        Raises CutOffError at the end if the file breaks off.
        """


def plain_type_name(text: str) -> str:
    """
    Return the name of a message type as ROS 2 writes it today.

    Old bags have 'sensor_msgs/Image', recorders of DDS 'sensor_msgs::msg::dds_::Image_'.
    """
    parts = [part for part in re.split(r'::|/', text) if part != 'dds_']
    if len(parts) == 2:
        parts.insert(1, 'msg')
    return '/'.join(parts).rstrip('_')


def unpacked(channel: Channel, time: int, data: bytes) -> SerialisedMessage:
    """Return a message of a file; one that its recorder compressed is decompressed."""
    was_compressed = data.startswith(_ZSTD)  # with which no CDR begins
    if was_compressed:
        data = unpacked_zstd(data)
    return SerialisedMessage(channel.topic, channel.type_name, time, data, was_compressed)


def qos_of(text: str) -> tuple[Qos, ...]:
    """Return the offered quality of service that a recorder wrote; nothing if unreadable."""
    with suppress(Exception):  # whatever other tools have written there
        return tuple(parse_qos(text))
    return ()
