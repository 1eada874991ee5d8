# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The tracks that a bag shows of an annotated video: from a replay, or as they were recorded."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from stmask_ros.bags.files import BagError, BagMessage
from stmask_ros.evaluation.dataset import DatasetError, Video
from stmask_ros.evaluation.report_page import Latency
from stmask_ros.evaluation.scores import Table
from stmask_ros.evaluation.track_collection import (
    TrackCollector,
    observations_of_message,
    observations_of_result,
)
from stmask_ros.tracking.replay import ReplayedImage, stamp_of

_LOGGER = logging.getLogger(__name__)
_NANOSECONDS = 1_000_000_000


class FrameMatcher:
    """
    Finds the annotated frame that an image shows.

    By stamp, exactly, if the annotations have stamps; else by order: the first image of the topic
    is the first frame, and an image that is dropped keeps its place.
    """

    def __init__(self, video: Video) -> None:
        """Match the images of a bag to the frames of `video`."""
        self._length = video.length
        self._frames = {stamp: frame for frame, stamp in enumerate(video.stamps)}

    @property
    def by_stamp(self) -> bool:
        """Whether stamps decide."""
        return bool(self._frames)

    def frame_of(self, position: int, stamp: int) -> int | None:
        """Return the frame, from 0, of an image by its place in the topic and its stamp [ns]."""
        if self.by_stamp:
            return self._frames.get(stamp)
        return position if position < self._length else None


@dataclass(frozen=True)
class BagRun:
    """
    What was found in a bag.

    counts: what became of the images, in words. latencies: one frame or more each. class_names:
    class i + 1 is class_names[i]. damage: why the bag could not be read to its end, or empty.
    """

    collector: TrackCollector
    counts: Mapping[str, int]
    latencies: Sequence[Latency]
    class_names: Sequence[str]
    damage: str

    def count_table(self) -> Table:
        """Return the counts as a table."""
        return Table(('images', 'count'), [(name, str(n)) for name, n in self.counts.items()])


class ReplayedRun:
    """Gathers what a replay finds in the bag of a video."""

    def __init__(self, video: Video) -> None:
        """Prepare for the bag of `video`."""
        self._video = video
        self._matcher = FrameMatcher(video)
        self._collector = TrackCollector(video)
        self._tally = Counter({'in the bag': 0, 'processed': 0})
        self._seconds: list[float] = []
        self._frames: set[int] = set()

    def read(self, images: Iterable[ReplayedImage], class_names: Sequence[str]) -> BagRun:
        """
        Take all images.

        class_names: of the model. Raises BagError if nothing could be read, DatasetError if the
        images are of another size than the annotations.
        """
        damage = ''
        try:
            for image in images:
                self._take(image)
        except BagError as error:
            damage = _damage(error, self._tally['in the bag'])
        self._tally['annotated frames without a processed image'] = (
            self._video.length - len(self._frames)
        )
        latencies = []
        if self._seconds:
            latencies.append(Latency('an image, from message to tracks', self._seconds))
        return BagRun(self._collector, self._tally, latencies, class_names, damage)

    def _take(self, image: ReplayedImage) -> None:
        self._tally['in the bag'] += 1
        _log(image)
        if image.result is None:
            self._tally[f'dropped: {image.reason}'] += 1
            return
        self._tally['processed'] += 1
        self._seconds.append(image.seconds)
        frame = self._matcher.frame_of(image.position, stamp_of(image.message.content))
        if frame is None:
            self._tally['not annotated'] += 1
            return
        _check_size(image.result.image_width, image.result.image_height, self._video)
        self._collector.add(frame, observations_of_result(image.result))
        self._frames.add(frame)


class RecordedRun:
    """
    Reads the recorded instances of a video.

    They are matched to the images by stamp; an image without them is a frame in which nothing was
    found.
    """

    def __init__(self, video: Video) -> None:
        """Prepare for the bag of `video`."""
        self._video = video
        self._matcher = FrameMatcher(video)
        self._frames: dict[int, int | None] = {}
        self._collector = TrackCollector(video)
        self._answered: set[int] = set()
        self._tally: Counter[str] = Counter()
        self._since_stamp: list[float] = []
        self._processing: list[float] = []
        self._names: dict[int, str] = {}
        self._damage = ''

    def read(self, images: Iterable[BagMessage], instances: Iterable[BagMessage]) -> BagRun:
        """
        Read both topics; images: nothing where annotations have stamps and no image was recorded.

        Raises BagError if nothing could be read, DatasetError if frames cannot be matched or the
        images are of another size than the annotations.
        """
        self._read(images, self._take_image)
        if not self._frames and not self._matcher.by_stamp:
            raise DatasetError(
                'the bag holds no images and the annotations no stamps: the frames that the '
                "instances are of cannot be told; give the video its frames' 'stamps' [ns]"
            )
        self._read(instances, self._take_instances)
        return self._summary()

    def _read(self, messages: Iterable[BagMessage], take: Callable[[BagMessage], None]) -> None:
        count = 0
        try:
            for message in messages:
                take(message)
                count += 1
        except BagError as error:
            self._damage = _damage(error, count)

    def _take_image(self, message: BagMessage) -> None:
        self._tally['in the bag'] += 1
        stamp = stamp_of(message.content)
        if stamp == 0:
            raise DatasetError('the recorded images carry no stamps to match instances by')
        position = self._tally['in the bag'] - 1
        self._frames.setdefault(stamp, self._matcher.frame_of(position, stamp))

    def _take_instances(self, message: BagMessage) -> None:
        array = message.content
        stamp = stamp_of(array)
        self._tally['answered'] += 1
        self._tally['skipped, as the node counted'] += int(array.frames_skipped)
        self._time(message, stamp)
        frame = self._frame_of(stamp)
        if frame is None or frame in self._answered:
            self._tally['answers to no annotated frame, or a second one'] += 1
            return
        _check_size(int(array.image_width), int(array.image_height), self._video)
        try:
            self._collector.add(frame, observations_of_message(array))
        except ValueError as error:
            raise DatasetError(
                f'the instances at stamp {stamp} cannot be scored: {error}'
            ) from error
        self._names |= {int(i.class_id): str(i.class_name) for i in array.instances}
        self._answered.add(frame)

    def _frame_of(self, stamp: int) -> int | None:
        if stamp in self._frames:
            return self._frames[stamp]
        return self._matcher.frame_of(0, stamp) if self._matcher.by_stamp else None

    def _time(self, message: BagMessage, stamp: int) -> None:
        took = message.content.processing_time
        self._processing.append(int(took.sec) + int(took.nanosec) / _NANOSECONDS)
        self._since_stamp.append((message.time - stamp) / _NANOSECONDS)

    def _summary(self) -> BagRun:
        self._tally['annotated frames without an answer'] = (
            self._video.length - len(self._answered)
        )
        latencies = [
            Latency(meaning, values) for meaning, values in (
                ("from the image's stamp to the recording of its instances", self._since_stamp),
                ('from the receipt of the image to the publication', self._processing),
            ) if values
        ]
        last = max(self._names, default=0)
        names = [self._names.get(class_id, '') for class_id in range(1, last + 1)]
        return BagRun(self._collector, self._tally, latencies, names, self._damage)


def _log(image: ReplayedImage) -> None:
    if image.reason:
        _LOGGER.warning('image %d dropped: %s', image.position + 1, image.detail)
    elif image.detail and image.result is not None:
        _LOGGER.warning('epoch %d begins with image %d, track ids start again: %s',
                        image.result.epoch, image.position + 1, image.detail)


def _check_size(width: int, height: int, video: Video) -> None:
    if (width, height) != (video.width, video.height):
        raise DatasetError(
            f'the images of the bag are {width}x{height}, but the annotations of {video.name} '
            f'are for {video.width}x{video.height}'
        )


def _damage(error: BagError, count: int) -> str:
    if count == 0:
        raise error
    return str(error)
