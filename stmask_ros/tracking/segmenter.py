"""The one interface: frames and stream states in, tracked instances and new states out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stmask_ros.masks import RegionMask
from stmask_ros.network.boxes import center_size, decode
from stmask_ros.network.checkpoint import Model, ModelError, load_model
from stmask_ros.network.inference import prepared_for_inference
from stmask_ros.network.stmask import Predictions
from stmask_ros.network.temporal_fusion import TemporalFeatures
from stmask_ros.tracking.association import Association, associate
from stmask_ros.tracking.detection import Detections, suppress
from stmask_ros.tracking.masks import BINARY_THRESHOLD, assemble, region_mask, visible_part
from stmask_ros.tracking.preprocess import Geometry, Image, InvalidImageError, preprocess
from stmask_ros.tracking.results import (
    Float32Array,
    FrameResult,
    Int64Array,
    Source,
    TrackStatus,
)
from stmask_ros.tracking.tracks import StreamState, TrackerConfig, TrackTable

__all__ = ['InvalidImageError', 'ModelError', 'VideoSegmenter', 'load_segmenter']


def load_segmenter(
    model: str | Path, device: str = 'cpu', tracker: TrackerConfig | None = None
) -> VideoSegmenter:
    """
    Load a model by name or path and return a segmenter on a device.

    device: 'cpu', 'cuda', 'cuda:1', ..., or 'auto' for CUDA where there is one. Raises ModelError
    if the model cannot be loaded or the device is not there.
    """
    return VideoSegmenter(load_model(model), _device(device), tracker or TrackerConfig())


class VideoSegmenter:
    """
    A model on a device, and the rules of its tracker. Keeps nothing of the streams it serves.

    tracker may be replaced between two steps.
    """

    def __init__(self, model: Model, device: torch.device, tracker: TrackerConfig) -> None:
        """
        Prepare the model's network for inference on the device.

        network: the copy that steps run; see docs/models.md for what can be read from it.
        """
        self.network = prepared_for_inference(model.network, device)
        self.device = device
        self.tracker = tracker
        self.class_names = model.description.classes
        self.model_name = f'{model.description.name}@{model.digest[:12]}'
        self.model_sha256 = model.digest
        self.freshly_initialised = model.freshly_initialised
        self._geometry = Geometry.of(self.network.config)

    def initial_state(self, epoch: int = 1) -> StreamState:
        """Return the state of a stream of which nothing was seen yet."""
        tracks = TrackTable.empty(self.network.config, self.device)
        return StreamState(epoch, 0, 1, tracks, None)

    @torch.inference_mode()
    def step(
        self,
        images: Sequence[Image],
        states: Sequence[StreamState],
        stamps: Sequence[int] | None = None,
    ) -> tuple[list[FrameResult], list[StreamState]]:
        """
        Segment one new frame of each stream.

        On the CPU, a stream's results do not depend on which others are stepped with it.

        images: uint8 BGR [H, W, 3] of any sizes. states: one a stream, left as they are.
        stamps: of the images [ns]; without them frames are numbered. Returns a result and the
        next state for each stream. Raises InvalidImageError for an image of another shape or
        dtype, ValueError for lengths that differ.
        """
        if stamps is None:
            stamps = [state.sequence + 1 for state in states]
        if not len(images) == len(states) == len(stamps):
            raise ValueError(
                f'expected as many images as states and stamps, got {len(images)}, '
                f'{len(states)} and {len(stamps)}'
            )
        # On a CPU, the sums of a batch would depend on who else is in it, if by little.
        together = 1 if self.device.type == 'cpu' else max(len(images), 1)
        results, next_states = [], []
        for first in range(0, len(images), together):
            part = slice(first, first + together)
            outcome = self._step(images[part], states[part], stamps[part])
            results.extend(outcome[0])
            next_states.extend(outcome[1])
        return results, next_states

    def _step(
        self, images: Sequence[Image], states: Sequence[StreamState], stamps: Sequence[int]
    ) -> tuple[list[FrameResult], list[StreamState]]:
        predictions = self.network(preprocess(images, self.network.config, self.device))
        carried = self._carry(states, predictions)
        results, next_states = [], []
        for frame, (image, state, tracks, stamp) in enumerate(
            zip(images, states, carried, stamps, strict=True)
        ):
            association = self._associate(predictions, frame, state, tracks, stamp)
            result, next_state = self._finish(image, state, association, predictions, frame)
            results.append(result)
            next_states.append(next_state)
        return results, next_states

    def _carry(self, states: Sequence[StreamState], now: Predictions) -> list[TrackTable]:
        """Return every stream's tracks carried to the current frame (specification, 10)."""
        aged = [state.tracks.aged() for state in states]
        rows = [i for i, s in enumerate(states) if s.features is not None and len(s.tracks)]
        if not rows or self.network.TemporalNet is None:
            return aged
        previous = [f for f in (states[i].features for i in rows) if f is not None]
        box_deltas, coefficient_deltas = self.network.propagate(
            TemporalFeatures.stacked(previous),
            TemporalFeatures.stacked([now.temporal.row(i) for i in rows]),
            torch.cat([aged[i].boxes for i in rows]),
            torch.cat([torch.full_like(aged[i].ids, n) for n, i in enumerate(rows)]),
        )
        counts = [len(aged[i]) for i in rows]
        for i, box_delta, coefficient_delta in zip(
            rows, box_deltas.split(counts), coefficient_deltas.split(counts), strict=True
        ):
            aged[i] = self._moved(aged[i], box_delta, coefficient_delta, now.prototypes[i])
        return aged

    def _moved(
        self, tracks: TrackTable, box_deltas: Tensor, coefficient_deltas: Tensor,
        prototypes: Tensor,
    ) -> TrackTable:
        config = self.network.config
        boxes = decode(box_deltas, center_size(tracks.boxes), config.variances)
        coefficients = tracks.coefficients + coefficient_deltas
        return replace(
            tracks,
            boxes=boxes,
            coefficients=coefficients,
            masks=assemble(prototypes, coefficients, boxes, config.mask_activation),
            scores=tracks.scores * self.tracker.score_decay,
        )

    def _associate(
        self, predictions: Predictions, frame: int, state: StreamState, tracks: TrackTable,
        stamp: int,
    ) -> Association:
        tracker = self.tracker
        network = self.network
        survivors = suppress(
            predictions, frame, tracker.score_threshold, tracker.nms_threshold, tracker.nms
        )
        if tracker.retirement != 'never':
            survivors = survivors.rows(survivors.scores > tracker.score_threshold)
        if tracker.max_detections is not None:
            survivors = survivors.rows(slice(tracker.max_detections))
        found = Detections.of(
            survivors, network.instances_at(predictions, frame, survivors.anchors)
        )
        masks = assemble(
            predictions.prototypes[frame], found.coefficients, found.boxes,
            network.config.mask_activation,
        )
        fused = network.TemporalNet is not None
        return associate(tracks, found, masks, state.next_id, stamp, tracker, fused)

    def _finish(
        self, image: Image, state: StreamState, association: Association,
        predictions: Predictions, frame: int,
    ) -> tuple[FrameResult, StreamState]:
        next_state = state.after(
            association.remembered, predictions.temporal.row(frame), self.tracker
        )
        return self._result(image, state, next_state, association.shown), next_state

    def _result(
        self, image: Image, state: StreamState, next_state: StreamState, tracks: TrackTable
    ) -> FrameResult:
        gone = tracks.missed > self.tracker.max_missed
        ending = gone & (self.tracker.retirement != 'never')
        visible = ~gone & self._visible(tracks)
        tracks = tracks.rows(visible | ending)
        height, width = image.shape[:2]
        soft = visible_part(tracks.masks, self._geometry).cpu().numpy()
        missed = tracks.missed.cpu().numpy()
        ending_rows = missed > self.tracker.max_missed
        return FrameResult(
            image_height=height,
            image_width=width,
            epoch=state.epoch,
            sequence=next_state.sequence,
            temporal_valid=state.features is not None,
            track_ids=tracks.ids.cpu().numpy(),
            statuses=self._statuses(missed, tracks.hits.cpu().numpy()),
            sources=np.where(missed > 0, int(Source.PROPAGATED), int(Source.DETECTED)),
            class_ids=tracks.classes.cpu().numpy(),
            scores=_unit(tracks.scores),
            detection_scores=_unit(tracks.detection_scores),
            ages=tracks.ages.cpu().numpy(),
            hits=tracks.hits.cpu().numpy(),
            missed=missed,
            first_seen=tracks.first_seen.cpu().numpy(),
            last_detected=tracks.last_detected.cpu().numpy(),
            boxes=self._pixels(tracks.boxes, height, width),
            masks=[
                RegionMask.empty() if ended else region_mask(mask, height, width)
                for mask, ended in zip(soft, ending_rows, strict=True)
            ],
        )

    def _visible(self, tracks: TrackTable) -> Tensor:
        """Bool [N]: strong, with a mask, and centered in the image (specification, 9 and 11)."""
        center = center_size(tracks.boxes)[:, :2]
        return (
            (tracks.scores > self.tracker.score_threshold)
            & ((tracks.masks > BINARY_THRESHOLD).sum((1, 2)) > self.tracker.min_mask_area)
            & (center[:, 0] <= self._geometry.width)
            & (center[:, 1] <= self._geometry.height)
        )

    def _statuses(self, missed: Int64Array, hits: Int64Array) -> Int64Array:
        seen = np.where(
            hits >= self.tracker.confirm_hits, int(TrackStatus.CONFIRMED),
            int(TrackStatus.TENTATIVE),
        )
        status = np.where(missed > 0, int(TrackStatus.COASTING), seen)
        ended = (missed > self.tracker.max_missed) & (self.tracker.retirement != 'never')
        return np.where(ended, int(TrackStatus.TERMINATED), status)

    def _pixels(self, boxes: Tensor, height: int, width: int) -> Float32Array:
        corners = boxes.cpu().numpy().reshape(-1, 2, 2)
        scale = np.array([width / self._geometry.width, height / self._geometry.height])
        ordered = np.sort(corners * scale, axis=1)
        clipped = np.clip(np.nan_to_num(ordered), 0, (width, height))
        return np.asarray(clipped.reshape(-1, 4), dtype=np.float32)


def _unit(scores: Tensor) -> Float32Array:
    return scores.clamp(0, 1).cpu().numpy()


def _device(name: str) -> torch.device:
    if name == 'auto':
        name = 'cuda' if torch.cuda.is_available() else 'cpu'
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"device {name!r} is unknown: use 'cpu', 'cuda' or 'auto'") from error
    if device.type == 'cuda' and not torch.cuda.is_available():
        raise ModelError(
            f"device {name!r} was asked for and this PyTorch ({torch.__version__}) finds no CUDA; "
            "install a driver and a CUDA build of PyTorch, or set the device to 'cpu'"
        )
    return device
