"""A recorded image topic through exactly what the node does with images, every one in order."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from stmask_ros.bags.files import IMAGE, BagMessage
from stmask_ros.images import (
    ImageError,
    Picture,
    SeenSize,
    compressed_picture,
    raw_picture,
)
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
    to its result [s].
    """

    position: int
    message: BagMessage
    result: FrameResult | None
    reason: str
    detail: str
    seconds: float


class Replay:
    """Answers recorded images one after the other, as the node's worker answers live ones."""

    def __init__(self, segmenter: VideoSegmenter, max_gap: float) -> None:
        """Start in epoch 1. max_gap: see stmask_ros.tracking.time_guard.judge()."""
        self._tracker = segmenter.tracker
        self._scaled_size = segmenter.scaled_size
        self._max_gap = max_gap
        self._stream = Stream(segmenter, itertools.count(1).__next__)

    def run(self, messages: Iterable[BagMessage]) -> Iterator[ReplayedImage]:
        """Yield what becomes of each message of a topic of images."""
        for position, message in enumerate(messages):
            yield self._answer(position, message)

    def _answer(self, position: int, message: BagMessage) -> ReplayedImage:
        start = time.perf_counter()
        result: FrameResult | None = None
        reason = detail = ''
        try:
            picture = picture_of(message, self._scaled_size)
            output = self._stream.process(
                picture.pixels, stamp_of(message.content), tracker=self._tracker,
                max_gap=self._max_gap, size=picture.size,
            )
            result, detail = output.result, output.interruption
        except ImageError as error:
            reason, detail = error.reason, str(error)
        except DuplicateImageError as error:
            reason, detail = 'repeated stamp', str(error)
        seconds = time.perf_counter() - start
        return ReplayedImage(position, message, result, reason, detail, seconds)


def picture_of(message: BagMessage, seen_size: SeenSize | None = None) -> Picture:
    """
    Return the picture of a raw or compressed image; ImageError if it holds none.

    seen_size: see compressed_picture.
    """
    convert = raw_picture if message.type_name == IMAGE else compressed_picture
    return convert(message.content, seen_size)


def stamp_of(content: Any) -> int:
    """Return the stamp of a message's header [ns]; 0 means that it has none."""
    stamp = content.header.stamp
    return int(stamp.sec) * _NANOSECONDS + int(stamp.nanosec)
