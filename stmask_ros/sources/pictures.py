# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Sources of plain pictures: the built-in clip, a folder, a video file, a camera device."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from stmask_ros.images.compressed import compressed_to_bgr
from stmask_ros.images.raw import Bgr, ImageError
from stmask_ros.names import natural_order
from stmask_ros.sources.built_in_clip import BuiltInClip
from stmask_ros.sources.source import Compressed, PictureFrame, SourceError, SourceOptions

_LOGGER = logging.getLogger(__name__)

SECOND = 1_000_000_000

# Of sources that do not tell their own rate [frames a second].
DEFAULT_RATE = 30.0

# After as many frames that cannot be read, one behind the other, a video is at its end.
_MOST_DAMAGED_IN_A_ROW = 100

# Of the number of frames that a file states, which may be an estimate: with fewer it breaks off.
_LEAST_SHARE = 0.9

_FORMATS = {
    '.jpg': 'jpeg', '.jpeg': 'jpeg', '.png': 'png', '.tif': 'tiff', '.tiff': 'tiff',
    '.webp': 'webp',
}


class ClipSource:
    """The built-in clip."""

    name = 'the built-in clip'
    live = False
    has_stamps = False

    def __init__(self) -> None:
        """Load the photographs; raises SourceError if they are not installed."""
        try:
            self._clip = BuiltInClip()
        except OSError as error:
            raise SourceError(
                f'the photographs of the built-in clip cannot be read ({error}): install '
                "scikit-image, or give another source such as 'device:0'") from error

    def frames(self) -> Iterator[PictureFrame]:
        """Play the clip once."""
        for index in range(self._clip.frame_count):
            seconds = index / self._clip.rate

            def read(seconds: float = seconds) -> Bgr:
                return self._clip.frame(seconds)

            yield PictureFrame(round(seconds * SECOND), read)


@dataclass(frozen=True)
class _FileFrame:
    """A compressed picture on disk."""

    offset_ns: int
    path: Path

    @cached_property
    def _file(self) -> Compressed:
        try:
            return Compressed(_FORMATS[self.path.suffix.lower()], self.path.read_bytes())
        except OSError as error:
            raise ImageError('broken data', f'cannot read a picture: {error}') from error

    def bgr(self) -> Bgr:
        try:
            return compressed_to_bgr(self._file)
        except ImageError as error:
            raise ImageError(error.reason, f'{self.path}: {error}') from error

    def raw(self) -> None:
        return None

    def compressed(self) -> Compressed:
        return self._file

    def stamp(self) -> None:
        return None

    def frame_id(self) -> str:
        return ''


class FolderSource:
    """The pictures of a folder, in the order of their names (numbers by value)."""

    live = False
    has_stamps = False

    def __init__(self, folder: Path, rate: float) -> None:
        """List the folder; raises SourceError if there is no picture in it."""
        self._rate = rate or DEFAULT_RATE
        self._paths = sorted(
            (path for path in folder.iterdir() if path.suffix.lower() in _FORMATS),
            key=lambda path: natural_order(path.name))
        self.name = f'the folder {folder} with {len(self._paths)} pictures'
        if not self._paths:
            raise SourceError(
                f'the folder {folder} holds no picture ({", ".join(_FORMATS)}) and is no bag '
                '(there is no .mcap or .db3 file)')

    def frames(self) -> Iterator[_FileFrame]:
        """Play all pictures once."""
        for index, path in enumerate(self._paths):
            yield _FileFrame(round(index / self._rate * SECOND), path)


class VideoSource:
    """A video file, as far as OpenCV can read it."""

    live = False
    has_stamps = False

    def __init__(self, path: Path) -> None:
        """Open the file to see whether it can be read; raises SourceError if not."""
        self._path = path
        self.name = f'the video {path}'
        next(self.frames())

    def frames(self) -> Iterator[PictureFrame]:
        """
        Play the file once, at the times that it gives its frames.

        A frame that is damaged is left out, and a warning counts them. Raises SourceError if not
        one frame can be read.
        """
        capture = cv2.VideoCapture(str(self._path))
        try:
            played, lost = yield from _play(capture)
            stated = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        finally:
            capture.release()
        if not played:
            raise SourceError(
                f'{self._path} is no video that OpenCV can read, nor a .mcap or .db3 bag')
        if lost:
            _LOGGER.warning('%s: left out %d damaged frames', self.name, lost)
        if played + lost < _LEAST_SHARE * stated:
            _LOGGER.warning(
                '%s breaks off: it has %d frames, of which %d can be read', self.name, stated,
                played)


def _play(capture: cv2.VideoCapture) -> Generator[PictureFrame, None, tuple[int, int]]:
    """Yield the frames of a file; return how many there were, and how many between them not."""
    rate = capture.get(cv2.CAP_PROP_FPS)
    period = SECOND / (rate if 0.1 <= rate <= 1000 else DEFAULT_RATE)
    played = lost = failures = 0
    first = last = 0.0
    while failures < _MOST_DAMAGED_IN_A_ROW:
        if not capture.grab():
            failures += 1
            continue
        time = capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6
        if not played:
            first = last = time
        elif time <= last:  # the file gives no times
            time = last + (1 + failures) * period
        lost += failures if played else 0
        played, failures, last = played + 1, 0, time
        yield PictureFrame(round(time - first), lambda: _retrieve(capture))
    return played, lost


class DeviceSource:
    """A camera that OpenCV can open, by its number or its device file."""

    live = True
    has_stamps = False

    def __init__(self, device: str, options: SourceOptions) -> None:
        """Open the camera to see whether it is there; raises SourceError if not."""
        self._device = device
        self._options = options
        self.name = f'the camera device {device}'
        self._open().release()

    def frames(self) -> Iterator[PictureFrame]:
        """Play until the camera fails, which raises SourceError."""
        capture = self._open()
        try:
            start = cv2.getTickCount()
            while capture.grab():
                seconds = (cv2.getTickCount() - start) / cv2.getTickFrequency()
                yield PictureFrame(round(seconds * SECOND), lambda: _retrieve(capture))
        finally:
            capture.release()
        raise SourceError(f'{self.name} stopped: was it unplugged, or taken by another program?')

    def _open(self) -> cv2.VideoCapture:
        # OpenCV would also open an address on the network, or run a pipeline written in a name.
        if not self._device.isdecimal() and not Path(self._device).exists():
            raise SourceError(f'{self.name} is not there: give a number or a file in /dev')
        capture = cv2.VideoCapture(int(self._device) if self._device.isdecimal() else self._device)
        if not capture.isOpened():
            raise SourceError(
                f'{self.name} cannot be opened: is it plugged in, may this user read it (group '
                'video), does another program use it?')
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        for setting, value in (
            (cv2.CAP_PROP_FRAME_WIDTH, self._options.width),
            (cv2.CAP_PROP_FRAME_HEIGHT, self._options.height),
            (cv2.CAP_PROP_FPS, self._options.rate),
        ):
            if value:
                capture.set(setting, value)
        return capture


def _retrieve(capture: cv2.VideoCapture) -> Bgr:
    found, picture = capture.retrieve()
    if not found:
        raise ImageError('broken data', 'the frame cannot be decoded')
    return np.asarray(picture, np.uint8)
