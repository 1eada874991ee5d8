# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Clips of a few frames to learn from: of annotated videos, and made on the spot."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from pycocotools import mask as coco_mask

from stmask_ros.evaluation.annotations import Annotations, read_frame
from stmask_ros.evaluation.dataset import DatasetError, GroundTruthTrack, Video
from stmask_ros.training.frames import AnnotatedFrame, ClassMap
from stmask_ros.training.synthetic import ClipGenerator

Clip = tuple[AnnotatedFrame, ...]


class ClipSource(Protocol):
    """Clips by number; their frames are in the order of time."""

    def __len__(self) -> int:
        """Return how many clips make an epoch."""
        ...

    def clip(self, number: int, rng: np.random.Generator) -> Clip:
        """Return clip 0 <= number < len, drawing from rng what is left to chance."""
        ...


class _LabelledTrack(NamedTuple):
    track: GroundTruthTrack
    label: int


class VideoClips:
    """One clip for every annotated frame, with other annotated ones nearby."""

    def __init__(
        self, annotations: Annotations, images: Path, classes: ClassMap, gap: int, length: int = 2
    ) -> None:
        """
        Look for annotated frames; DatasetError if no object has a class.

        gap: most frames from one frame of a clip to the next. length: frames of a clip.
        """
        self._others = length - 1
        self._images = images
        self._gap = gap
        names = {category.id: category.name for category in annotations.dataset.categories}
        self._videos = annotations.dataset.videos
        self._tracks: dict[int, list[_LabelledTrack]] = {video.id: [] for video in self._videos}
        folders = {video.id: video.name for video in self._videos}
        for track in annotations.dataset.tracks:
            name = names[track.category_id] if annotations.has_classes else folders[track.video_id]
            label = classes.label([name])
            if label is not None and not track.is_crowd:
                self._tracks[track.video_id].append(_LabelledTrack(track, label))
        self._frames = [
            (video, frame) for video in self._videos for frame in range(video.length)
            if self._is_annotated(video, frame)
        ]
        if not self._frames:
            known = ', '.join(classes.classes)
            raise DatasetError(f'no annotated object is of a class of the model: {known}')

    def __len__(self) -> int:
        """Return the number of annotated frames."""
        return len(self._frames)

    def clip(self, number: int, rng: np.random.Generator) -> Clip:
        """Return the frame and some nearby; the frame again where there are not as many."""
        video, frame = self._frames[number]
        reach = self._gap * self._others
        near = range(max(frame - reach, 0), min(frame + reach + 1, video.length))
        others = [n for n in near if n != frame and self._is_annotated(video, n)]
        chosen = [frame]
        for _ in range(self._others):
            chosen.append(int(rng.choice(others)) if others else frame)
            others = [n for n in others if n not in chosen]
        return tuple(self._read(video, n) for n in sorted(chosen))

    def _is_annotated(self, video: Video, frame: int) -> bool:
        return any(t.track.sequence.masks[frame] is not None for t in self._tracks[video.id])

    def _read(self, video: Video, frame: int) -> AnnotatedFrame:
        shown = [
            (item, rle) for item in self._tracks[video.id]
            if (rle := item.track.sequence.masks[frame]) is not None
        ]
        masks = np.zeros((len(shown), video.height, video.width), np.bool_)
        for mask, (_, rle) in zip(masks, shown, strict=True):
            mask[:] = coco_mask.decode(rle)
        image = read_frame(self._images, video.file_names[frame])
        if image.shape[:2] != masks.shape[1:]:
            raise DatasetError(
                f'{video.file_names[frame]}: {image.shape[1]}x{image.shape[0]} pixels, but the '
                f'annotations are for {video.width}x{video.height}'
            )
        labels = np.array([item.label for item, _ in shown], np.int64)
        return AnnotatedFrame(
            image, masks, labels, np.array([item.track.id for item, _ in shown], np.int64)
        )


class SyntheticClips:
    """A few frames of a synthetic video that nobody saw before."""

    def __init__(self, generator: ClipGenerator, gap: int, count: int, length: int = 2) -> None:
        """gap: most frames from one to the next. count: clips in an epoch. length: of a clip."""
        self._generator = generator
        self._steps = length - 1
        self._gap = min(gap, (generator.config.frames - 1) // max(self._steps, 1))
        self._count = count

    def __len__(self) -> int:
        """Return the number of clips in an epoch."""
        return self._count

    def clip(self, number: int, rng: np.random.Generator) -> Clip:
        """Return frames of a video drawn by rng; the number means nothing."""
        video = self._generator.clip(int(rng.integers(2**31)))
        steps = [
            int(rng.integers(1, self._gap, endpoint=True)) if self._gap else 0
            for _ in range(self._steps)
        ]
        first = int(rng.integers(video.config.frames - sum(steps)))
        return tuple(video.frame(n) for n in accumulate(steps, initial=first))
