# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The data that a run's configuration names."""

from __future__ import annotations

from collections.abc import Iterator

from stmask_ros.evaluation.annotations import Annotations, load_annotations
from stmask_ros.training.clips import ClipSource, SyntheticClips, VideoClips
from stmask_ros.training.config import ClassNames, SyntheticData, TrainingConfig, VideoData
from stmask_ros.training.crops import PictureClips
from stmask_ros.training.cutouts import Library, coco_pictures, video_pictures
from stmask_ros.training.frames import AnnotatedFrame, ClassMap
from stmask_ros.training.synthetic import ClipGenerator
from stmask_ros.training.warps import WarpedPictures


def build_sources(config: TrainingConfig) -> list[ClipSource]:
    """Open all data of a run; DatasetError, ValueError or OSError if that cannot be done."""
    length = config.clip_length()
    sources: list[ClipSource] = [
        VideoClips(
            chosen_annotations(videos), videos.images, _class_map(config, videos.classes),
            config.gap, length,
        )
        for videos in config.videos
    ]
    for data in config.synthetic:
        library = Library.of(pictures_of(config, data), data.most_in_background)
        generator = ClipGenerator(library, data.clips, config.seed)
        sources.append(SyntheticClips(generator, config.gap, data.pairs, length))
    for still in config.pictures:
        classes = _class_map(config, still.coco.classes)
        annotations, images = still.coco.annotations, still.coco.images
        if still.warped:
            sources.append(WarpedPictures(
                annotations, images, classes, length, skip_bad=still.coco.skip_bad))
        else:
            sources.append(PictureClips(
                annotations, images, classes, still.crops, length, still.coco.skip_bad))
    return sources


def chosen_annotations(data: VideoData) -> Annotations:
    """Return the annotations of the videos that were asked for."""
    annotations = load_annotations(data.annotations)
    return annotations.only(data.videos) if data.videos else annotations


def pictures_of(config: TrainingConfig, data: SyntheticData) -> Iterator[AnnotatedFrame]:
    """Yield the pictures that clips are made of."""
    for coco in data.coco:
        classes = _class_map(config, coco.classes)
        yield from coco_pictures(coco.annotations, coco.images, classes, coco.skip_bad)
    for videos in data.videos:
        yield from video_pictures(
            chosen_annotations(videos), videos.images, _class_map(config, videos.classes),
            data.stride,
        )


def _class_map(config: TrainingConfig, names: ClassNames) -> ClassMap:
    return ClassMap(config.classes, names.names, names.otherwise)
