# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""From a recording to a folder to be labelled: frames chosen, the model's masks as a start."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stmask_ros.bags.files import BagError, BagMessage, read_bag
from stmask_ros.bags.image_reader import images_of
from stmask_ros.evaluation.dataset import Category
from stmask_ros.evaluation.rle import Rle
from stmask_ros.labelling.choice import Changes, Choice, Observation, choose, observed
from stmask_ros.labelling.folder import (
    IMAGES,
    LabelFrame,
    Labels,
    LabelTrack,
    LabelVideo,
    encoded,
    write_picture,
)
from stmask_ros.tracking.replay import Replay, stamp_of
from stmask_ros.tracking.results import FrameResult, TrackStatus
from stmask_ros.tracking.segmenter import VideoSegmenter

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreLabel:
    """What the model said of an object in a frame: its track in the epoch, class and mask."""

    track_id: int
    class_id: int
    mask: Rle


@dataclass(frozen=True)
class SeenFrame:
    """A frame of a recording: what it is chosen by, where it belongs, and the model's masks."""

    observation: Observation
    epoch: int
    stamp: int
    height: int
    width: int
    objects: tuple[PreLabel, ...]


def seen_frames(
    bag: Path, topic: str, segmenter: VideoSegmenter, max_gap: float
) -> Iterator[SeenFrame]:
    """Yield what the model sees in the images of a topic; of a damaged bag what can be read."""
    changes = Changes()
    replay = Replay(segmenter, max_gap)
    for image in replay.run(_readable(bag, topic)):
        if image.result is None:
            _LOGGER.warning('image %d left out: %s', image.position + 1, image.detail)
            continue
        pixels = image.pixels(segmenter.scaled_size)
        result = image.result
        yield SeenFrame(
            observed(image.position, pixels, result, changes), result.epoch,
            stamp_of(image.taken), result.image_height, result.image_width,
            tuple(_pre_labels(result)))


def _readable(bag: Path, topic: str) -> Iterator[BagMessage]:
    count = 0
    try:
        for message in read_bag(bag, topic):
            count += 1
            yield message
    except BagError as error:
        if count == 0:
            raise
        _LOGGER.warning('%s; what could be read is used', error)


def _pre_labels(result: FrameResult) -> Iterator[PreLabel]:
    for row in np.flatnonzero(result.statuses != TrackStatus.TERMINATED).tolist():
        mask = encoded(result.masks[row].to_full(result.image_height, result.image_width))
        if mask is not None:
            yield PreLabel(int(result.track_ids[row]), int(result.class_ids[row]), mask)


def labels_of(
    seen: Sequence[SeenFrame], choices: Sequence[Choice], class_names: Sequence[str],
    further: Sequence[str] = (),
) -> Labels:
    """
    Return the labels of the chosen frames: a video for each epoch, ids that no two tracks share.

    class_names: of the model. further: names of classes that only people know of.
    """
    frames = {frame.observation.position: frame for frame in seen}
    chosen = [(frames[choice.position], choice) for choice in choices]
    first_id = 0
    videos: list[LabelVideo] = []
    tracks: list[LabelTrack] = []
    for epoch in sorted({frame.epoch for frame, _ in chosen}):
        here = [(frame, choice) for frame, choice in chosen if frame.epoch == epoch]
        videos.append(_video(len(videos) + 1, here))
        tracks += _tracks(videos[-1].id, [frame for frame, _ in here], first_id)
        first_id = max([first_id, *(track.id for track in tracks)])
    used = sorted({track.category_id for track in tracks})
    known = [Category(number, class_names[number - 1]) for number in used]
    new = [name for name in further if name not in {each.name for each in known}]
    start = len(class_names) + 1
    return Labels(
        tuple(videos), (*known, *(Category(n, name) for n, name in enumerate(new, start))),
        tuple(tracks))


def _video(number: int, frames: Sequence[tuple[SeenFrame, Choice]]) -> LabelVideo:
    first, _ = frames[0]
    return LabelVideo(number, first.height, first.width, tuple(
        LabelFrame(picture_file(choice.position), frame.stamp or None, False, choice.reason)
        for frame, choice in frames))


def _tracks(video_id: int, frames: Sequence[SeenFrame], first_id: int) -> list[LabelTrack]:
    """Return the tracks of an epoch, of the class that they have most often."""
    ids = sorted({each.track_id for frame in frames for each in frame.objects})
    tracks = []
    for track_id in ids:
        found = [{each.track_id: each for each in frame.objects}.get(track_id) for frame in frames]
        classes = [each.class_id for each in found if each is not None]
        tracks.append(LabelTrack(
            first_id + track_id, video_id, max(set(classes), key=classes.count),
            tuple(each.mask if each is not None else None for each in found)))
    return tracks


def picture_file(position: int) -> str:
    """Return the name of the picture of an image by its position in the topic."""
    return f'{position:06d}.jpg'


def write_pictures(folder: Path, bag: Path, topic: str, positions: Iterable[int]) -> None:
    """Write images of a topic to the folder's images/, as JPEG."""
    wanted = set(positions)
    (folder / IMAGES).mkdir()
    for position, image in enumerate(images_of(_readable(bag, topic))):
        if position in wanted:
            write_picture(folder / IMAGES / picture_file(position), image.pixels())


def chosen_frames(
    seen: Sequence[SeenFrame], every: int, most: int
) -> list[Choice]:
    """Return the frames worth labelling, see `choose`."""
    return choose([frame.observation for frame in seen], every, most)
