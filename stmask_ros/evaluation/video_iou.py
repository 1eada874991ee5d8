"""How far predicted tracks and annotated objects overlap: measured once, used by every metric."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from stmask_ros.evaluation.dataset import Dataset, GroundTruthTrack, PredictedTrack
from stmask_ros.evaluation.rle import MaskSequence, Rle

Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Float64Array = npt.NDArray[np.float64]
Track = TypeVar('Track', GroundTruthTrack, PredictedTrack)


@dataclass(frozen=True)
class TrackStack:
    """
    The masks of N tracks of one video as arrays over its T frames.

    areas: int64 [T, N] pixels.
    present: bool [T, N], whether there is a mask at all (one without pixels counts).
    sizes: int64 [T, N, 2], height and width of the image the mask is of; 0 where absent.
    lengths: int64 [N], frames the track lists, present or not.
    """

    areas: Int64Array
    present: BoolArray
    sizes: Int64Array
    lengths: Int64Array

    @classmethod
    def from_sequences(cls, sequences: Sequence[MaskSequence], frames: int) -> TrackStack:
        """Stack tracks of up to that many frames; the missing end of a shorter one is absent."""
        areas = np.zeros((frames, len(sequences)), np.int64)
        sizes = np.zeros((frames, len(sequences), 2), np.int64)
        for index, sequence in enumerate(sequences):
            areas[:len(sequence), index] = sequence.areas
            sizes[:len(sequence), index] = [
                (0, 0) if mask is None else mask['size'] for mask in sequence.masks
            ]
        lengths = np.array([len(sequence) for sequence in sequences], np.int64)
        return cls(areas, sizes[..., 0] > 0, sizes, lengths)


@dataclass(frozen=True)
class VideoOverlap:
    """
    All pairs of the P predicted tracks and G annotated objects of one video.

    intersections: int64 [T, P, G], common pixels in each frame; 0 where either is absent or
    where the two masks are of images of different sizes.
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
        differ = (
            self.predicted_stack.sizes[:, :, None] != self.true_stack.sizes[:, None]
        ).any(axis=-1)
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


def measure_overlaps(
    dataset: Dataset, predictions: Iterable[PredictedTrack]
) -> list[VideoOverlap]:
    """Return one VideoOverlap for each video of the data set, in ascending order of video id."""
    truths = _by_video(dataset.tracks)
    predicted = _by_video(predictions)
    return [
        _measure_video(video.id, video.length, truths[video.id], predicted[video.id])
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
) -> VideoOverlap:
    true_sequences = [track.sequence for track in truths]
    predicted_sequences = [track.sequence for track in predictions]
    frames = max([length, *map(len, true_sequences), *map(len, predicted_sequences)])
    true_stack = TrackStack.from_sequences(true_sequences, frames)
    predicted_stack = TrackStack.from_sequences(predicted_sequences, frames)
    intersections = np.zeros((frames, len(predictions), len(truths)), np.int64)
    for frame in range(frames):
        rows = predicted_stack.present[frame].nonzero()[0]
        columns = true_stack.present[frame].nonzero()[0]
        if rows.size and columns.size:
            intersections[frame, rows[:, None], columns] = _intersections(
                [predicted_sequences[row].masks[frame] for row in rows],
                [true_sequences[column].masks[frame] for column in columns],
                predicted_stack.areas[frame, rows],
            )
    return VideoOverlap(
        video_id, truths, predictions, true_stack, predicted_stack, intersections
    )


def _intersections(
    predicted: Sequence[Rle | None], truths: Sequence[Rle | None], areas: Int64Array
) -> Int64Array:
    """
    Return the common pixels of all pairs, int64 [P, G].

    For a crowd, pycocotools divides the intersection by the predicted mask's own area; that
    quotient times the area is the intersection again, exactly after rounding. One call measures
    all pairs of a frame, many times faster than merging the masks of each pair. Masks of
    different sizes give -1 or 0.
    """
    fractions = coco_mask.iou(list(predicted), list(truths), [1] * len(truths))
    common: Int64Array = np.rint(np.maximum(fractions, 0.0) * areas[:, None]).astype(np.int64)
    return common
