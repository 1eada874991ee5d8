# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""How far predicted tracks and annotated objects overlap: measured once, used by every metric."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stmask_ros.evaluation.dataset import Dataset, GroundTruthTrack, PredictedTrack, Track
from stmask_ros.evaluation.rle import MaskSequence
from stmask_ros.run_lengths import grouped_sums

Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TrackStack:
    """
    The masks of N tracks of one video as arrays over its T frames.

    areas: int64 [T, N] pixels.
    present: bool [T, N], whether there is a mask at all (one without pixels counts).
    sizes: int64 [T, N, 2], height and width of the image the mask is of; 0 where absent.
    span_counts: int64 [T, N], runs of pixels.
    lengths: int64 [N], frames the track lists, present or not.
    """

    areas: Int64Array
    present: BoolArray
    sizes: Int64Array
    span_counts: Int64Array
    lengths: Int64Array

    @classmethod
    def from_sequences(cls, sequences: Sequence[MaskSequence], frames: int) -> TrackStack:
        """Stack tracks of up to that many frames; the missing end of a shorter one is absent."""
        areas, span_counts = np.zeros((2, frames, len(sequences)), np.int64)
        sizes = np.zeros((frames, len(sequences), 2), np.int64)
        for index, sequence in enumerate(sequences):
            areas[:len(sequence), index] = sequence.areas
            span_counts[:len(sequence), index] = sequence.span_counts
            sizes[:len(sequence), index] = sequence.sizes
        lengths = np.array([len(sequence) for sequence in sequences], np.int64)
        return cls(areas, sizes[..., 0] > 0, sizes, span_counts, lengths)

    def average_areas(self) -> Float64Array:
        """Return each track's mean area over the frames where it has any, float64 [N] pixels."""
        shown = np.maximum(1, (self.areas > 0).sum(axis=0))
        averages: Float64Array = self.areas.sum(axis=0) / shown
        return averages


@dataclass(frozen=True)
class VideoOverlap:
    """
    All pairs of the P predicted tracks and G annotated objects of one video.

    intersections: int64 [T, P, G], common pixels in each frame; 0 where either is absent,
    where the two masks are of images of different sizes, and for pairs that were not measured.
    """

    video_id: int
    truths: Sequence[GroundTruthTrack]
    predictions: Sequence[PredictedTrack]
    true_stack: TrackStack
    predicted_stack: TrackStack
    intersections: Int64Array

    def frame_iou(self) -> Float64Array:
        """Return the mask IoU in every frame, float64 [T, G, P]; 0 where either is absent."""
        iou: Float64Array = self.intersections / np.maximum(self._unions(), 1)
        return iou.transpose(0, 2, 1)

    def video_iou(self, reference_quirks: bool = False) -> Float64Array:
        """
        Return the spatio-temporal IoU, float64 [P, G]: summed intersections over summed unions.

        A frame that one track does not list counts as one where it is not visible, and masks of
        different image sizes have nothing in common. With reference_quirks both kinds of frames
        are left out of the sums, as the reference does.
        """
        unions = self._unions()
        if reference_quirks:
            unions = np.where(self._reference_frames(), unions, 0)
        iou: Float64Array = self.intersections.sum(axis=0) / np.maximum(unions.sum(axis=0), 1)
        return iou

    def size_mismatches(self) -> BoolArray:
        """Return bool [T, P, G]: both masks present, but of images of different sizes."""
        predicted, true = self.predicted_stack.sizes[:, :, None], self.true_stack.sizes[:, None]
        differ = (predicted[..., 0] != true[..., 0]) | (predicted[..., 1] != true[..., 1])
        present = self.predicted_stack.present[:, :, None] & self.true_stack.present[:, None]
        mismatches: BoolArray = differ & present
        return mismatches

    def _unions(self) -> Int64Array:
        predicted, true = self.predicted_stack.areas, self.true_stack.areas
        return predicted[:, :, None] + true[:, None, :] - self.intersections

    def _reference_frames(self) -> BoolArray:
        common = np.minimum(self.predicted_stack.lengths[:, None], self.true_stack.lengths[None])
        frames = np.arange(len(self.intersections))[:, None, None]
        return (frames < common) & ~self.size_mismatches()


def indices_by_category(tracks: Sequence[Track]) -> dict[int, list[int]]:
    """Return the indices of the tracks of each category, by its id, in their order."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    for index, track in enumerate(tracks):
        found[track.category_id].append(index)
    return dict(found)


def measure_overlaps(
    dataset: Dataset, predictions: Iterable[PredictedTrack], *, within_classes: bool = False
) -> list[VideoOverlap]:
    """
    Return one VideoOverlap for each video of the data set, in ascending order of video id.

    within_classes: measure only pairs of the same class, enough for the scores by class.
    """
    truths = _by_video(dataset.tracks)
    predicted = _by_video(predictions)
    return [
        _measure_video(
            video.id, video.length, truths[video.id], predicted[video.id], within_classes
        )
        for video in dataset.videos
    ]


def _by_video(tracks: Iterable[Track]) -> defaultdict[int, list[Track]]:
    found: defaultdict[int, list[Track]] = defaultdict(list)
    for track in tracks:
        found[track.video_id].append(track)
    return found


def _measure_video(
    video_id: int,
    length: int,
    truths: Sequence[GroundTruthTrack],
    predictions: Sequence[PredictedTrack],
    within_classes: bool,
) -> VideoOverlap:
    true_sequences = [track.sequence for track in truths]
    predicted_sequences = [track.sequence for track in predictions]
    frames = max([length, *map(len, true_sequences), *map(len, predicted_sequences)])
    overlap = VideoOverlap(
        video_id, truths, predictions,
        TrackStack.from_sequences(true_sequences, frames),
        TrackStack.from_sequences(predicted_sequences, frames),
        np.zeros((frames, len(predictions), len(truths)), np.int64),
    )
    _intersect(overlap, within_classes)
    return overlap


def _intersect(overlap: VideoOverlap, within_classes: bool) -> None:
    """Fill in the intersections."""
    stacks = overlap.true_stack, overlap.predicted_stack
    stride = max(int(stack.sizes.prod(axis=-1).max(initial=0)) for stack in stacks)
    for rows, columns in _comparable(overlap, within_classes):
        edges = _edges([overlap.predictions[row].sequence for row in rows], stride)
        counts = overlap.predicted_stack.span_counts[:, rows].T
        for column in columns:
            film = _Film.of(overlap.truths[column].sequence, stride)
            common = grouped_sums(film.pixels_between(edges), counts.ravel())
            overlap.intersections[:, rows, column] = common.reshape(counts.shape).T
    overlap.intersections[overlap.size_mismatches()] = 0


def _comparable(overlap: VideoOverlap, within_classes: bool) -> list[tuple[list[int], list[int]]]:
    """Return the indices of the predictions and of the objects of each class, or of all."""
    if not within_classes:
        return [(list(range(len(overlap.predictions))), list(range(len(overlap.truths))))]
    rows, columns = indices_by_category(overlap.predictions), indices_by_category(overlap.truths)
    return [(rows[category], columns[category]) for category in rows.keys() & columns.keys()]


@dataclass(frozen=True)
class _Film:
    """
    The masks of a track as one mask of one long image: all frames of the video side by side.

    edges: float64 [2 * spans], in ascending order the pixels at which the mask begins and ends.
    filled: float64 [2 * spans], its pixels before each edge.
    """

    edges: Float64Array
    filled: Float64Array

    @classmethod
    def of(cls, sequence: MaskSequence, stride: int) -> _Film:
        """Give every frame `stride` pixels."""
        edges = _edges([sequence], stride)
        filled = np.zeros_like(edges)
        filled[1::2] = (edges[1::2] - edges[::2]).cumsum()
        filled[2::2] = filled[1:-1:2]
        return cls(edges, filled)

    def pixels_between(self, edges: Float64Array) -> Float64Array:
        """Return how many pixels of the mask each span has, float64 [S], from edges [2 * S]."""
        if not self.edges.size:
            return np.zeros(len(edges) // 2)
        # Between two edges the pixels so far grow by 1 or not at all: interpolation is exact.
        before = np.interp(edges, self.edges, self.filled)
        between: Float64Array = before[1::2] - before[::2]
        return between


def _edges(sequences: Sequence[MaskSequence], stride: int) -> Float64Array:
    """Return the edges of the films of some tracks, one track after the other."""
    if not sequences:
        return np.empty(0)
    edges = np.concatenate([sequence.spans for sequence in sequences], dtype=np.float64).ravel()
    frames = np.concatenate([np.arange(len(sequence)) for sequence in sequences])
    counts = np.concatenate([sequence.span_counts for sequence in sequences])
    edges += np.repeat(frames * float(stride), 2 * counts)
    return edges
