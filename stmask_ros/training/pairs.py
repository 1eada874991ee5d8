"""Pairs of frames to learn from: of annotated videos, and of clips made on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from pycocotools import mask as coco_mask

from stmask_ros.evaluation.annotations import Annotations, read_frame
from stmask_ros.evaluation.dataset import DatasetError, GroundTruthTrack, Video
from stmask_ros.training.frames import AnnotatedFrame, ClassMap
from stmask_ros.training.synthetic import ClipGenerator

Pair = tuple[AnnotatedFrame, AnnotatedFrame]


class PairSource(Protocol):
    """Pairs by number, in the order of time."""

    def __len__(self) -> int:
        """Return how many pairs make an epoch."""
        ...

    def pair(self, number: int, rng: np.random.Generator) -> Pair:
        """Return pair 0 <= number < len, drawing from rng what is left to chance."""
        ...


class _LabelledTrack(NamedTuple):
    track: GroundTruthTrack
    label: int


class VideoPairs:
    """One pair for every annotated frame, with another annotated one nearby."""

    def __init__(
        self, annotations: Annotations, images: Path, classes: ClassMap, gap: int
    ) -> None:
        """gap: most frames between the two. DatasetError if no object has a class."""
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

    def pair(self, number: int, rng: np.random.Generator) -> Pair:
        """Return the frame and one nearby; twice the frame if there is none."""
        video, frame = self._frames[number]
        near = range(max(frame - self._gap, 0), min(frame + self._gap + 1, video.length))
        others = [n for n in near if n != frame and self._is_annotated(video, n)]
        other = int(rng.choice(others)) if others else frame
        first, second = sorted((frame, other))
        return self._read(video, first), self._read(video, second)

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


class SyntheticPairs:
    """Two frames of a clip that nobody saw before."""

    def __init__(self, generator: ClipGenerator, gap: int, count: int) -> None:
        """gap: most frames between the two. count: pairs in an epoch."""
        self._generator = generator
        self._gap = min(gap, generator.config.frames - 1)
        self._count = count

    def __len__(self) -> int:
        """Return the number of pairs in an epoch."""
        return self._count

    def pair(self, number: int, rng: np.random.Generator) -> Pair:
        """Return frames of a clip drawn by rng; the number means nothing."""
        clip = self._generator.clip(int(rng.integers(2**31)))
        gap = int(rng.integers(1, self._gap, endpoint=True)) if self._gap else 0
        first = int(rng.integers(clip.config.frames - gap))
        return clip.frame(first), clip.frame(first + gap)
