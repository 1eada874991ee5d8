# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The labelled frames of a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from stmask_ros.evaluation.annotations import read_frame
from stmask_ros.evaluation.dataset import DatasetError
from stmask_ros.families.frames import AnnotatedFrame
from stmask_ros.fingerprint import Fingerprint, file_sha256, files_fingerprint
from stmask_ros.labelling.exchange import Pictures, check_overlaps
from stmask_ros.labelling.folder import (
    ANNOTATIONS,
    IMAGES,
    LabelTrack,
    LabelVideo,
    check_pictures,
    decoded,
    read_labels,
)


@dataclass(frozen=True)
class LabelledFrame:
    """A frame of a video that a person has labelled, and the objects that are seen in it."""

    video: LabelVideo
    number: int
    tracks: tuple[LabelTrack, ...]

    @property
    def file_name(self) -> str:
        """Of its picture, below the folder of all."""
        return self.video.frames[self.number].file_name


@dataclass(frozen=True)
class Material:
    """
    What is learned from.

    folder: as stmask_ros.labelling.folder describes it. frames: in the order of the file.
    categories: names by id.
    """

    folder: Path
    frames: tuple[LabelledFrame, ...]
    categories: Mapping[int, str]

    @property
    def class_names(self) -> list[str]:
        """Return the names of the categories that have objects, in the order of their ids."""
        used = set().union(*map(self.classes_of, self.frames))
        return [name for _, name in sorted(self.categories.items()) if name in used]

    @property
    def idle_classes(self) -> list[str]:
        """Return the names of the categories that have no object in a labelled frame."""
        return sorted(set(self.categories.values()) - set(self.class_names))

    def classes_of(self, frame: LabelledFrame) -> set[str]:
        """Return the names of the categories of a frame's objects; crowds do not count."""
        return {
            self.categories[track.category_id] for track in frame.tracks if not track.is_crowd}

    def read(self, frame: LabelledFrame, labels: Mapping[str, int]) -> AnnotatedFrame:
        """
        Return a frame's picture and objects.

        labels: category name -> label; objects of others have label 0, and so have crowds.
        Raises DatasetError if the picture is missing or of another size.
        """
        size = (frame.video.height, frame.video.width)
        image = read_frame(self.folder / IMAGES, frame.file_name, size)
        masks = [mask for track in frame.tracks if (mask := track.masks[frame.number])]
        return AnnotatedFrame(
            image, np.array([decoded(mask) for mask in masks], bool).reshape(-1, *size),
            np.array([self._label(track, labels) for track in frame.tracks], np.int64),
            np.array([track.id for track in frame.tracks], np.int64),
        )

    def _label(self, track: LabelTrack, labels: Mapping[str, int]) -> int:
        return 0 if track.is_crowd else labels.get(self.categories[track.category_id], 0)

    def only(self, numbers: Sequence[int]) -> Material:
        """Return some of the frames."""
        return replace(self, frames=tuple(self.frames[number] for number in numbers))

    def fingerprint(self) -> Fingerprint:
        """Return what tells this material from other."""
        names = [frame.file_name for frame in self.frames]
        return {
            'annotations': {'sha256': file_sha256(self.folder / ANNOTATIONS)},
            'images': files_fingerprint(self.folder / IMAGES, names),
        }


def read_material(folder: Path) -> Material:
    """
    Read the labelled frames of a folder.

    Raises DatasetError that says what is missing if there are fewer than two with objects, or a
    picture is missing or of another size than its masks, or two tracks cover the same pixels;
    OSError if a file cannot be read.
    """
    labels = read_labels(folder)
    frames = tuple(
        LabelledFrame(video, number, tuple(
            track for track in labels.tracks_of(video.id) if track.masks[number] is not None))
        for video in labels.videos
        for number, frame in enumerate(video.frames) if frame.is_labelled
    )
    if not any(video.frames for video in labels.videos):
        raise DatasetError(f'{folder}: holds no frame: export some with `stmask bag export`')
    with_objects = sum(bool(frame.tracks) for frame in frames)
    if with_objects < 2:
        raise DatasetError(
            f'{folder}: {with_objects} of {len(frames)} labelled frames show an object: expected '
            'two or more, one to learn from and one to judge by; label some with `stmask label`'
        )
    check_pictures(folder, labels)
    pictures = Pictures.of(labels)
    labelled = [frame.is_labelled for video in labels.videos for frame in video.frames]
    check_overlaps(labels, pictures, np.flatnonzero(labelled).tolist())
    return Material(folder, frames, {c.id: c.name for c in labels.categories})
