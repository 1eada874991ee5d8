"""Where the camera node's pictures come from, and which kind of source a name means."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

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
class Resized:
    """A source with every picture brought to one size [pixel]."""

    source: Source
    width: int
    height: int

    @property
    def name(self) -> str:
        """What it is, in a few words for the log."""
        return f'{self.source.name}, resized to {self.width}x{self.height}'

    @property
    def live(self) -> bool:
        """Whether frames come when they happen."""
        return self.source.live

    @property
    def has_stamps(self) -> bool:
        """Whether its frames were recorded with stamps."""
        return self.source.has_stamps

    def frames(self) -> Iterator[Frame]:
        """Play one pass; raises SourceError where it breaks off."""
        for frame in self.source.frames():
            yield _ResizedFrame(frame, self.width, self.height)


@dataclass(frozen=True)
class _ResizedFrame:
    """The frame with other pixels: what was recorded of them no longer holds."""

    frame: Frame
    width: int
    height: int

    @property
    def offset_ns(self) -> int:
        return self.frame.offset_ns

    def bgr(self) -> Bgr:
        picture = self.frame.bgr()
        height, width = picture.shape[:2]
        smaller = self.width < width and self.height < height
        method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        resized = cv2.resize(picture, (self.width, self.height), interpolation=method)
        return np.asarray(resized, np.uint8)

    def raw(self) -> None:
        return None

    def compressed(self) -> Compressed | None:
        return None

    def stamp(self) -> tuple[int, int] | None:
        return self.frame.stamp()

    def frame_id(self) -> str:
        return self.frame.frame_id()


@dataclass(frozen=True)
class SourceOptions:
    """
    What is asked of a source.

    bag_topic: image topic of a bag, '' for the first one.
    rate: frames a second of a folder or a device, 0 for its own.
    width, height: size of the pictures [pixel], 0 for the source's own.
    """

    bag_topic: str = ''
    rate: float = 0.0
    width: int = 0
    height: int = 0


def open_source(text: str, options: SourceOptions) -> Source:
    """
    Return the source of this name, ready to play.

    text: '' (the built-in clip), 'device:0' or '/dev/video0', a video file, a folder of pictures,
    a bag (its folder, or its .mcap or .db3 file).
    Raises SourceError if it does not exist or holds no pictures.
    """
    source = _open(text, options)
    if options.width and options.height:
        return Resized(source, options.width, options.height)
    return source


def _open(text: str, options: SourceOptions) -> Source:
    from stmask_ros.node.picture_sources import ClipSource, DeviceSource, FolderSource, VideoSource
    if not text:
        return ClipSource()
    if re.fullmatch(r'device:.+|/dev/.+', text):
        return DeviceSource(text.removeprefix('device:'), options)
    path = Path(text).expanduser()
    if not path.exists():
        raise SourceError(
            f"source '{text}' does not exist: give a video file, a folder of pictures, a bag, "
            "or a camera such as 'device:0'")
    if (path / 'metadata.yaml').is_file() or path.suffix in ('.mcap', '.db3'):
        from stmask_ros.node.bag_source import BagSource  # rosbags is slow to load
        return BagSource(path, options.bag_topic)
    if path.is_dir():
        return FolderSource(path, options.rate)
    return VideoSource(path)
