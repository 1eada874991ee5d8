# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""From what a segmenter says frame by frame to one hypothesis for each track of a video."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from stmask_ros.evaluation.dataset import PredictedTrack, Video
from stmask_ros.evaluation.rle import MaskSequence, Rle
from stmask_ros.families.family import VideoInstance
from stmask_ros.masks import RegionMask, decode_all
from stmask_ros.tracking.results import FrameResult, TrackStatus


@dataclass(frozen=True)
class Observation:
    """
    One track in one frame.

    epoch, track_id: which track. class_id: of the model, from 1. score: in [0, 1].
    """

    epoch: int
    track_id: int
    class_id: int
    score: float
    mask: RegionMask


@dataclass(frozen=True)
class NamedTrack:
    """A hypothesis and the name that people know its track by: its id, and its epoch if many."""

    name: str
    prediction: PredictedTrack


def observations_of_result(result: FrameResult) -> list[Observation]:
    """Return the tracks that a step shows; those it gives up have no mask any more."""
    rows = zip(
        result.track_ids.tolist(), result.statuses.tolist(), result.class_ids.tolist(),
        result.scores.tolist(), result.masks, strict=True,
    )
    return [
        Observation(result.epoch, track_id, class_id, score, mask)
        for track_id, status, class_id, score, mask in rows
        if status != TrackStatus.TERMINATED
    ]


def observations_of_message(message: Any) -> list[Observation]:
    """
    Return the tracks of a TrackedInstanceArray, of rclpy or of rosbags.

    Raises ValueError if a mask is missing or broken.
    """
    shown = [item for item in message.instances if item.state != TrackStatus.TERMINATED]
    masks = decode_all([instance.mask for instance in shown])
    return [
        Observation(
            int(message.epoch), int(instance.track_id), int(instance.class_id),
            float(instance.score), mask,
        )
        for instance, mask in zip(shown, masks, strict=True)
    ]


@dataclass
class _Collected:
    masks: dict[int, Rle] = field(default_factory=dict)
    class_ids: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)


class TrackCollector:
    """Gathers the observations of one video."""

    def __init__(self, video: Video) -> None:
        """Gather for `video`."""
        self._video = video
        self._tracks: defaultdict[tuple[int, int], _Collected] = defaultdict(_Collected)

    def add(self, frame: int, observations: Iterable[Observation]) -> None:
        """Add a frame of the video, counted from 0; each frame once."""
        for observation in observations:
            track = self._tracks[observation.epoch, observation.track_id]
            track.masks[frame] = _encoded(observation.mask, self._video)
            track.class_ids.append(observation.class_id)
            track.scores.append(observation.score)

    def tracks(self, category_of_class: Mapping[int, int]) -> list[NamedTrack]:
        """
        Return the hypotheses in the order of epoch and id.

        category_of_class: the data set's category of each class of the model that it has.
        As in the reference, a track's score is the mean over the frames that show it, and its
        class the most frequent one, the lowest of equals. Classes that the data set does not
        have are left out.
        """
        epochs = {epoch for epoch, _ in self._tracks}
        found = []
        for (epoch, track_id), track in sorted(self._tracks.items()):
            category = category_of_class.get(int(np.bincount(track.class_ids).argmax()))
            if category is not None:
                name = str(track_id) if len(epochs) == 1 else f'{epoch}/{track_id}'
                found.append(NamedTrack(name, self._prediction(track, category)))
        return found

    def _prediction(self, track: _Collected, category_id: int) -> PredictedTrack:
        masks = [track.masks.get(frame) for frame in range(self._video.length)]
        score = sum(track.scores) / len(track.scores)
        return PredictedTrack(
            self._video.id, category_id, score, MaskSequence.from_masks(masks)
        )


def tracks_of_instances(
    video: Video, instances: Iterable[VideoInstance], category_of_class: Mapping[int, int]
) -> list[NamedTrack]:
    """
    Return the hypotheses of a video that was seen at once, named by their rank.

    category_of_class: see TrackCollector.tracks(). Every frame has a mask, an empty one too.
    """
    return [
        NamedTrack(str(rank), PredictedTrack(
            video.id, category_of_class[instance.class_id], instance.score,
            MaskSequence.from_masks([_encoded(mask, video) for mask in instance.masks]),
        ))
        for rank, instance in enumerate(instances, 1) if instance.class_id in category_of_class
    ]


def _encoded(mask: RegionMask, video: Video) -> Rle:
    full = mask.to_full(video.height, video.width)
    encoded: Rle = coco_mask.encode(np.asfortranarray(full, dtype=np.uint8))
    return encoded


def predictions_of(tracks: Iterable[NamedTrack]) -> list[PredictedTrack]:
    """Return the hypotheses without their names."""
    return [track.prediction for track in tracks]


def match_classes(class_names: Sequence[str], category_names: Mapping[int, str]) -> dict[int, int]:
    """
    Return the data set's category of each class of a model that it has.

    Classes are matched by name, whatever its case and spacing. The official files misspell a few
    names, so a model with the data set's own list of classes (as many, and at least half of them
    under the same number and name) matches the rest by number.
    """
    plain = {_plain(name): category for category, name in category_names.items()}
    names = {class_id: _plain(name) for class_id, name in enumerate(class_names, 1)}
    matched = {key: plain[name] for key, name in names.items() if name in plain}
    same = sum(matched.get(key) == key for key in names)
    if len(names) == len(category_names) and 2 * same >= len(names):
        free = set(category_names) - set(matched.values())
        matched |= {key: key for key in names if key not in matched and key in free}
    return matched


def _plain(name: str) -> str:
    return name.strip().lower().replace(' ', '_')
