# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Which kind of source a name means."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from stmask_ros.images.raw import Bgr
from stmask_ros.installation import missing_libraries_explained
from stmask_ros.sources.pictures import ClipSource, DeviceSource, FolderSource, VideoSource
from stmask_ros.sources.source import Compressed, Frame, Source, SourceError, SourceOptions

_BAG_FILE = re.compile(r'\.(mcap|db3)(\.zstd)?$|^metadata\.yaml$')


def open_source(text: str, options: SourceOptions) -> Source:
    """
    Return the source of this name, ready to play.

    text: '' (the built-in clip), 'device:0' or '/dev/video0', a video file, a folder of pictures,
    a bag (its folder, or one of its .mcap or .db3 files).
    Raises SourceError if it does not exist or holds no pictures.
    """
    source = _open(text, options)
    if options.width and options.height:
        return Resized(source, options.width, options.height)
    return source


def _open(text: str, options: SourceOptions) -> Source:
    if not text:
        return ClipSource()
    if re.fullmatch(r'device:.+|/dev/.+', text):
        return DeviceSource(text.removeprefix('device:'), options)
    path = Path(text).expanduser()
    if not path.exists():
        raise SourceError(
            f"source '{text}' does not exist: give a video file, a folder of pictures, a bag, "
            "or a camera such as 'device:0'")
    if _is_bag(path):
        with missing_libraries_explained():
            from stmask_ros.sources.bag import BagSource  # rosbags is slow to load
        return BagSource(path, options.bag_topic)
    if path.is_dir():
        return FolderSource(path, options.rate)
    return VideoSource(path)


def _is_bag(path: Path) -> bool:
    if path.is_file() and path.suffix == '.bag':
        return True  # of ROS 1, which is refused with a sentence
    names = [entry.name for entry in path.iterdir()] if path.is_dir() else [path.name]
    return any(_BAG_FILE.search(name) for name in names)


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
