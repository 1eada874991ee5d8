# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The one interface: frames and stream states in, tracked instances and new states out."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stmask_ros.engines.toolkit import Engine
from stmask_ros.families.errors import InvalidImageError, ModelError
from stmask_ros.families.family import (
    AnyStepper,
    Appearance,
    Precision,
    RemembersAppearance,
    ShownTracks,
    StepResult,
    StreamFrame,
    TrackerOptions,
    TrackerSettings,
    VideoInstance,
    WholeVideoStepper,
)
from stmask_ros.families.frames import Image, ScaledImage, Size, check_image
from stmask_ros.families.state import StreamState
from stmask_ros.layers.captured import float32_convolutions
from stmask_ros.masks import Float32Array, Int64Array, RegionMask
from stmask_ros.models.checkpoint import Model, load_model
from stmask_ros.tracking.placement import (
    Placement,
    WantedPrecision,
    chosen_precision,
    device_named,
)
from stmask_ros.tracking.results import FrameResult, Source, TrackStatus
from stmask_ros.tracking.view import View

__all__ = ['InvalidImageError', 'ModelError', 'Precision', 'VideoSegmenter', 'load_segmenter']

_LOGGER = logging.getLogger(__name__)


def load_segmenter(
    model: str | Path, device: str = 'cpu',
    tracker: TrackerOptions | TrackerSettings | None = None,
    precision: WantedPrecision = 'float32', engine: Engine = 'torch',
    tell: Callable[[str], object] = _LOGGER.info,
) -> VideoSegmenter:
    """
    Load a model by name or path and return a segmenter on a device.

    device: 'cpu', 'cuda', 'cuda:1', ..., or 'auto' for CUDA where there is one. tracker: options
    of the model's family, or what users set of those of any. precision: see VideoSegmenter;
    'auto' takes the fastest in which the model is known to keep identities. engine: see
    VideoSegmenter; what it needs of the model is exported if it is not there yet, which takes a
    minute and of which `tell` is told. Raises ModelError if the model cannot be loaded or the
    device, with this precision and engine, is not there, ValueError for a setting out of range.
    """
    where = device_named(device)
    loaded = load_model(model)
    chosen = chosen_precision(precision, where, engine, loaded)
    if tracker is None or isinstance(tracker, TrackerSettings):
        options: TrackerOptions = loaded.tracker(tracker)
    else:
        options = tracker
    return VideoSegmenter(
        loaded, where, options, precision=chosen, engine=engine, tell=tell
    )


# Of all segmenters of the process.
_GPU_TURN = threading.Lock()


class VideoSegmenter:
    """
    A model on a device, and the rules of its tracker. Keeps nothing of the streams it serves.

    tracker may be replaced between two steps. Steps that several threads ask for follow one
    another: recordings of steps on a GPU have buffers of their own, and settings of the process.
    """

    def __init__(
        self, model: Model, device: torch.device, tracker: TrackerOptions,
        in_batches: bool | None = None, precision: Precision = 'float32',
        engine: Engine = 'torch', tell: Callable[[str], object] = _LOGGER.info,
    ) -> None:
        """
        Prepare the model's network for inference on the device.

        tracker: options of the model's family.
        in_batches: compute the frames of a step together, in tables of fixed lengths (see
        layers/rows.py), or each alone. None for together, except on a CPU: there it saves
        nothing, and the sums of a frame would depend on the others, if by little.
        precision: of the network's weights and feature maps; boxes, scores, masks and all that
        follows are float32.
        engine: the program that computes the network of a frame; all that follows is PyTorch's.
        """
        self._in_batches = device.type != 'cpu' if in_batches is None else in_batches
        placement = Placement(device, precision, engine, tell)
        self.stepper: AnyStepper = placement.stepper(model, self._in_batches)
        self.device = device
        self._turn = _GPU_TURN if device.type == 'cuda' else threading.Lock()
        self.precision = precision
        self.engine = placement.engine_name
        self.tracker = tracker
        self.class_names = model.description.classes
        self.model_name = f'{model.description.name}@{model.digest[:12]}'
        self.model_sha256 = model.digest
        self.model_description = model.description
        self.freshly_initialised = model.freshly_initialised
        self.tracker_options = model.tracker

    @property
    def network(self) -> Any:
        """The copy of the network that steps run; see docs/models.md for what it shows."""
        return self.stepper.network

    def scaled_size(self, size: Size) -> Size:
        """Return height and width [pixel] at which the network sees an image of this size."""
        return self.stepper.scaled_size(size)

    def initial_state(self, epoch: int = 1) -> StreamState:
        """Return the state of a stream of which nothing was seen yet."""
        return StreamState(epoch, 0, 1, self.stepper.initial_memory())

    @torch.inference_mode()
    def appearance(self, state: StreamState) -> Appearance | None:
        """Return the embeddings of the tracks in a state; None if the family has none."""
        if not isinstance(self.stepper, RemembersAppearance):
            return None
        return self.stepper.appearance(state.memory)

    @torch.inference_mode()
    def step(
        self,
        images: Sequence[Image],
        states: Sequence[StreamState],
        stamps: Sequence[int] | None = None,
        sizes: Sequence[Size] | None = None,
        views: Sequence[View] | None = None,
    ) -> tuple[list[FrameResult], list[StreamState]]:
        """
        Segment one new frame of each stream.

        images: uint8 BGR [H, W, 3] of any sizes. states: one a stream, left as they are.
        stamps: of the images [ns]; without them frames are numbered. sizes: height and width
        [pixel] in which boxes and masks are reported, where the images are smaller versions of
        the frames; without them the images' own. views: where to look, in place of sizes, which
        they have; the window of a stream has to stay the same. Returns a result and the next
        state for each stream. Raises InvalidImageError for an image of another shape or dtype,
        ValueError for lengths that differ and sizes without a pixel.
        """
        if stamps is None:
            stamps = [state.sequence + 1 for state in states]
        if views is not None:
            sizes = [view.size for view in views]
        _check_lengths(images, states, stamps, sizes)
        for image in images:
            check_image(image)
        views = _whole_views(images, sizes) if views is None else views
        stepped = self._stepped([
            StreamFrame(
                self.stepper.scaled(view.part(image)), view.window_size, state.memory,
                state.next_id, stamp,
            )
            for image, state, stamp, view in zip(images, states, stamps, views, strict=True)
        ])
        shown = [
            view.of_tracks(result.shown, state.reported)
            for view, result, state in zip(views, stepped, states, strict=True)
        ]
        results = [
            _frame_result(view.size, state, tracks, self.tracker)
            for view, state, tracks in zip(views, states, shown, strict=True)
        ]
        return results, list(map(_next_state, states, stepped, shown))

    def _stepped(self, frames: Sequence[StreamFrame[Any]]) -> list[StepResult[Any]]:
        """Return the result of each frame; those of one size are computed together."""
        results: dict[int, StepResult[Any]] = {}
        with self._turn, float32_convolutions(self.device):
            for group in self._groups([frame.image for frame in frames]):
                stepped = self.stepper.step([frames[i] for i in group], self.tracker)
                results.update(zip(group, stepped, strict=True))
        return [results[i] for i in range(len(frames))]

    @property
    def sees_whole_videos(self) -> bool:
        """Whether whole_video() is there for this model."""
        return isinstance(self.stepper, WholeVideoStepper)

    @torch.inference_mode()
    def whole_video(self, images: Sequence[Image]) -> list[VideoInstance]:
        """
        Return the instances of a whole video at once, best first: for evaluation, not for streams.

        images: uint8 BGR [H, W, 3], all of one size. Memory grows with their number. Raises
        ModelError if the model's network sees no more than a few frames, InvalidImageError for an
        image of another shape, dtype or size, ValueError without any.
        """
        if not isinstance(self.stepper, WholeVideoStepper):
            raise ModelError(
                f'{self.model_name} sees a video frame by frame, and cannot take it whole'
            )
        if not images:
            raise ValueError('expected at least one image, got none')
        for image in images:
            check_image(image)
            if image.shape != images[0].shape:
                raise InvalidImageError(
                    f'expected images of one size, got {list(images[0].shape[:2])} and '
                    f'{list(image.shape[:2])}'
                )
        with self._turn, float32_convolutions(self.device):
            return self.stepper.whole_video(
                [self.stepper.scaled(image) for image in images], images[0].shape[:2]
            )

    def _groups(self, images: Sequence[ScaledImage]) -> Iterator[list[int]]:
        # The numbers of frames that are computed together: those of one padded size.
        if not self._in_batches:
            yield from ([i] for i in range(len(images)))
            return
        padded = [image.geometry.padded for image in images]
        for size in dict.fromkeys(padded):
            yield [i for i, its in enumerate(padded) if its == size]


def _check_lengths(
    images: Sequence[Image], states: Sequence[StreamState], stamps: Sequence[int],
    sizes: Sequence[Size] | None,
) -> None:
    lengths = [len(each) for each in (images, states, stamps, sizes) if each is not None]
    if len(set(lengths)) > 1:
        raise ValueError(
            'expected as many images as states, stamps and sizes, got '
            + ', '.join(map(str, lengths))
        )
    if any(min(size) < 1 for size in sizes or ()):
        raise ValueError(f'expected sizes of at least 1x1 pixel, got {list(sizes or ())}')


def _whole_views(images: Sequence[Image], sizes: Sequence[Size] | None) -> list[View]:
    sizes = [(image.shape[0], image.shape[1]) for image in images] if sizes is None else sizes
    return [View.whole(size) for size in sizes]


def _next_state(state: StreamState, result: StepResult[Any], shown: ShownTracks) -> StreamState:
    reported = state.reported.union(shown.ids.tolist()).difference(shown.ids[shown.ended].tolist())
    return StreamState(
        state.epoch, state.sequence + 1, state.next_id + result.born, result.memory, reported
    )


def _frame_result(
    size: Size, state: StreamState, tracks: ShownTracks, tracker: TrackerOptions
) -> FrameResult:
    return FrameResult(
        image_height=size[0],
        image_width=size[1],
        epoch=state.epoch,
        sequence=state.sequence + 1,
        temporal_valid=state.sequence > 0,
        track_ids=tracks.ids,
        statuses=_statuses(tracks, tracker),
        sources=np.where(tracks.missed > 0, int(Source.PROPAGATED), int(Source.DETECTED)),
        class_ids=tracks.classes,
        scores=tracks.scores.clip(0, 1),
        detection_scores=tracks.detection_scores.clip(0, 1),
        ages=tracks.ages,
        hits=tracks.hits,
        missed=tracks.missed,
        first_seen=tracks.first_seen,
        last_detected=tracks.last_detected,
        boxes=_clipped(tracks, size),
        masks=[
            RegionMask.empty() if ended else mask
            for mask, ended in zip(tracks.masks, tracks.ended, strict=True)
        ],
    )


def _statuses(tracks: ShownTracks, tracker: TrackerOptions) -> Int64Array:
    seen = np.where(
        tracks.hits >= tracker.confirm_hits, int(TrackStatus.CONFIRMED),
        int(TrackStatus.TENTATIVE),
    )
    status = np.where(tracks.missed > 0, int(TrackStatus.COASTING), seen)
    return np.where(tracks.ended, int(TrackStatus.TERMINATED), status)


def _clipped(tracks: ShownTracks, size: Size) -> Float32Array:
    height, width = size
    ordered = np.sort(tracks.boxes.reshape(-1, 2, 2), axis=1)
    clipped = np.clip(np.nan_to_num(ordered), 0, (width, height))
    return np.asarray(clipped.reshape(-1, 4), dtype=np.float32)
