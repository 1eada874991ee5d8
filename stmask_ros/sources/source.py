# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What a source of pictures is, and what one of its frames offers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from stmask_ros.images.raw import Bgr, ImageMessage


class SourceError(RuntimeError):
    """A source that does not exist, cannot be read, or stopped; the message is for the user."""


@dataclass(frozen=True)
class Compressed:
    """A picture as a compressed file. format: as in sensor_msgs/CompressedImage."""

    format: str
    data: bytes


class Frame(Protocol):
    """
    One picture of a source. Use it before the next one is asked for.

    Every method raises ImageError if the picture is broken.
    """

    @property
    def offset_ns(self) -> int:
        """Time from the first frame of the pass to this one [ns]."""

    def bgr(self) -> Bgr:
        """Return the picture, uint8 BGR [height, width, 3]."""

    def raw(self) -> ImageMessage | None:
        """Return the message it was recorded as, if it is a recorded raw one."""

    def compressed(self) -> Compressed | None:
        """Return the file it comes from, if it is compressed already."""

    def stamp(self) -> tuple[int, int] | None:
        """Return the recorded stamp (seconds, nanoseconds), if there is one."""

    def frame_id(self) -> str:
        """Return the recorded frame id, '' if there is none."""


@dataclass(frozen=True)
class PictureFrame:
    """A frame of which only the pixels are known. read: returns them, or raises ImageError."""

    offset_ns: int
    read: Callable[[], Bgr]

    def bgr(self) -> Bgr:
        """Return the picture, uint8 BGR [height, width, 3]."""
        return self.read()

    def raw(self) -> None:
        """Nothing was recorded."""

    def compressed(self) -> Compressed | None:
        """Nothing is compressed."""
        return None

    def stamp(self) -> None:
        """Nothing was recorded."""

    def frame_id(self) -> str:
        """Nothing was recorded."""
        return ''


class Source(Protocol):
    """A sequence of pictures that can be played again from its start."""

    @property
    def name(self) -> str:
        """What it is, in a few words for the log."""

    @property
    def live(self) -> bool:
        """Whether frames come when they happen (a device), not when they are asked for."""

    @property
    def has_stamps(self) -> bool:
        """Whether its frames were recorded with stamps."""

    def frames(self) -> Iterator[Frame]:
        """Play one pass; raises SourceError where it breaks off."""


@dataclass(frozen=True)
class SourceOptions:
    """
    What is asked of a source.

    bag_topic: image topic of a bag, '' for the likeliest, see choose_image_topic.
    rate: frames a second of a folder or a device, 0 for its own.
    width, height: size of the pictures [pixel], 0 for the source's own.
    """

    bag_topic: str = ''
    rate: float = 0.0
    width: int = 0
    height: int = 0
