# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A recorded image topic through exactly what the node does with images, every one in order."""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from stmask_ros.bags.files import BagMessage
from stmask_ros.bags.image_reader import reader_of
from stmask_ros.families.frames import Size
from stmask_ros.images import ImageError
from stmask_ros.images.packets import header_of
from stmask_ros.images.raw import Bgr, Picture, SeenSize
from stmask_ros.images.reading import ImageReader
from stmask_ros.tracking.look import EVERYWHERE, Look, RegionError
from stmask_ros.tracking.results import FrameResult
from stmask_ros.tracking.segmenter import VideoSegmenter
from stmask_ros.tracking.stream import DuplicateImageError, Stream

_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True)
class ReplayedImage:
    """
    An image of the topic and what became of it.

    position: in the topic, from 0. result: None if the image was dropped. reason: why, in the
    node's words; empty if it was not. detail: a sentence for the user. seconds: from the message
    to its result [s]. taken: what its reader took; `header` is that of the image.
    """

    position: int
    message: BagMessage
    result: FrameResult | None
    reason: str
    detail: str
    seconds: float
    reader: ImageReader
    taken: Any

    def pixels(self, seen_size: SeenSize | None = None) -> Bgr:
        """Return the picture, uint8 BGR [H, W, 3], see compressed_picture; or ImageError."""
        return self.reader.picture(self.taken, seen_size).pixels


class Replay:
    """Answers recorded images one after the other, as the node's worker answers live ones."""

    def __init__(
        self, segmenter: VideoSegmenter, max_gap: float, look: Look = EVERYWHERE
    ) -> None:
        """
        Start in epoch 1.

        max_gap: see stmask_ros.tracking.time_guard.judge(). look: where to look in the images.
        """
        self.segmenter = segmenter
        self._view = lru_cache(maxsize=4)(look.at)
        self._tracker = segmenter.tracker
        self._scaled_size = segmenter.scaled_size
        self._max_gap = max_gap
        self._reader: ImageReader | None = None
        self._stream = Stream(segmenter, itertools.count(1).__next__)

    def run(self, messages: Iterable[BagMessage]) -> Iterator[ReplayedImage]:
        """Yield what becomes of each message of a topic of images."""
        for position, message in enumerate(messages):
            yield self.answer(position, message)

    def answer(self, position: int, message: BagMessage) -> ReplayedImage:
        """Return what becomes of the next message, at this position of its topic."""
        start = time.perf_counter()
        result: FrameResult | None = None
        reason = detail = ''
        reader = self._reader = self._reader or reader_of(message.type_name)
        taken = reader.take(message.content)
        try:
            picture = reader.picture(taken, self._seen_size)
            output = self._stream.process(
                picture.pixels, stamp_of(taken), tracker=self._tracker,
                max_gap=self._max_gap, view=self._view(picture.size),
            )
            result, detail = output.result, output.interruption
        except ImageError as error:
            reason, detail = error.reason, str(error)
        except RegionError as error:
            reason, detail = 'region outside', str(error)
        except DuplicateImageError as error:
            reason, detail = 'repeated stamp', str(error)
        seconds = time.perf_counter() - start
        return ReplayedImage(
            position, message, result, reason, detail, seconds, reader, taken)

    def _seen_size(self, size: Size) -> Size:
        return self._view(size).wanted_size(self._scaled_size)


def picture_of(message: BagMessage, seen_size: SeenSize | None = None) -> Picture:
    """
    Return the picture of a message that needs no other; or ImageError.

    For one release: bags.image_reader.images_of() reads video as well. seen_size: see
    compressed_picture.
    """
    warnings.warn(
        'picture_of is now bags.image_reader.images_of', DeprecationWarning, stacklevel=2)
    reader = reader_of(message.type_name)
    return reader.picture(reader.take(message.content), seen_size)


def stamp_of(content: Any) -> int:
    """Return the stamp of a message of any kind of image [ns]; 0 means that it has none."""
    stamp = header_of(content).stamp
    return int(stamp.sec) * _NANOSECONDS + int(stamp.nanosec)
