"""The one interface: frames and stream states in, tracked instances and new states out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from stmask_ros.families.errors import ModelError
from stmask_ros.families.stmask.frame_step import StepInput, StepOutput, compute
from stmask_ros.families.stmask.inference import prepared_for_inference
from stmask_ros.families.stmask.masks import image_masks, visible_part
from stmask_ros.families.stmask.preprocess import Geometry, Image, InvalidImageError, resized
from stmask_ros.families.stmask.report import Report
from stmask_ros.families.stmask.tracks import StreamState, TrackerConfig, TrackTable
from stmask_ros.masks import Float32Array, Int64Array, RegionMask
from stmask_ros.models.checkpoint import Model, load_model
from stmask_ros.tracking.captured import BatchStep, CapturingStep, numerics
from stmask_ros.tracking.results import FrameResult, Source, TrackStatus

__all__ = ['InvalidImageError', 'ModelError', 'VideoSegmenter', 'load_segmenter']


Precision = Literal['float32', 'float16', 'bfloat16']
Size = tuple[int, int]


def load_segmenter(
    model: str | Path, device: str = 'cpu', tracker: TrackerConfig | None = None,
    precision: Precision = 'float32',
) -> VideoSegmenter:
    """
    Load a model by name or path and return a segmenter on a device.

    device: 'cpu', 'cuda', 'cuda:1', ..., or 'auto' for CUDA where there is one. precision: see
    VideoSegmenter; a CPU has float32 only. Raises ModelError if the model cannot be loaded or the
    device, with this precision, is not there.
    """
    where = _device(device)
    if where.type == 'cpu' and precision != 'float32':
        raise ModelError(
            f'precision {precision!r} was asked for and the device is a CPU, where it would only '
            "be slower: use 'float32'"
        )
    return VideoSegmenter(
        load_model(model), where, tracker or TrackerConfig(), precision=precision
    )


class VideoSegmenter:
    """
    A model on a device, and the rules of its tracker. Keeps nothing of the streams it serves.

    tracker may be replaced between two steps.
    """

    def __init__(
        self, model: Model, device: torch.device, tracker: TrackerConfig,
        in_batches: bool | None = None, precision: Precision = 'float32',
    ) -> None:
        """
        Prepare the model's network for inference on the device.

        in_batches: compute the frames of a step together, in tables of fixed lengths (see
        layers/rows.py), or each alone. None for together, except on a CPU: there it saves
        nothing, and the sums of a frame would depend on the others, if by little.
        precision: of the network's weights and feature maps; boxes, scores, masks and all that
        follows are float32.
        network: the copy that steps run; see docs/models.md for what can be read from it.
        """
        self.network = prepared_for_inference(model.network, device, getattr(torch, precision))
        self.device = device
        self.precision = precision
        self.tracker = tracker
        self.class_names = model.description.classes
        self.model_name = f'{model.description.name}@{model.digest[:12]}'
        self.model_sha256 = model.digest
        self.model_description = model.description
        self.freshly_initialised = model.freshly_initialised
        self._geometry = Geometry.of(self.network.config)
        self._in_batches = device.type != 'cpu' if in_batches is None else in_batches
        self._captured: BatchStep | None = None
        if device.type == 'cuda':
            self._captured = CapturingStep(partial(compute, self.network, self._geometry))

    @property
    def input_size(self) -> Size:
        """Height and width [pixel] that the network sees; of a larger image it sees no more."""
        return self.network.config.input_height, self.network.config.input_width

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
        sizes: Sequence[Size] | None = None,
    ) -> tuple[list[FrameResult], list[StreamState]]:
        """
        Segment one new frame of each stream.

        images: uint8 BGR [H, W, 3] of any sizes. states: one a stream, left as they are.
        stamps: of the images [ns]; without them frames are numbered. sizes: height and width
        [pixel] in which boxes and masks are told, where the images are smaller versions of the
        frames; without them the images' own. Returns a result and the next state for each stream.
        Raises InvalidImageError for an image of another shape or dtype, ValueError for lengths
        that differ and sizes without a pixel.
        """
        if stamps is None:
            stamps = [state.sequence + 1 for state in states]
        lengths = [len(each) for each in (images, states, stamps, sizes) if each is not None]
        if len(set(lengths)) > 1:
            raise ValueError(
                'expected as many images as states, stamps and sizes, got '
                + ', '.join(map(str, lengths))
            )
        if any(min(size) < 1 for size in sizes or ()):
            raise ValueError(f'expected sizes of at least 1x1 pixel, got {list(sizes or ())}')
        # Greedy suppression has to read how many boxes there are.
        together = self._in_batches and self.tracker.nms != 'greedy'
        size = max(len(images), 1) if together else 1
        results, next_states = [], []
        with numerics(self.device):
            for first in range(0, len(images), size):
                part = slice(first, first + size)
                pixels = resized(images[part], self.network.config, self.device)
                if together:
                    inputs = StepInput.padded(pixels, states[part], stamps[part], self.network)
                    output = (self._captured or self._compute)(inputs, self.tracker)
                else:
                    inputs = StepInput.alone(pixels, states[first], stamps[first])
                    output = self._compute(inputs, self.tracker)
                shown = [i.shape[:2] for i in images[part]] if sizes is None else sizes[part]
                some_results, some_states = self._finish(shown, states[part], output)
                results += some_results
                next_states += some_states
        return results, next_states

    def _compute(self, inputs: StepInput, tracker: TrackerConfig) -> StepOutput:
        return compute(self.network, self._geometry, inputs, tracker)

    def _finish(
        self, sizes: Sequence[Size], states: Sequence[StreamState], output: StepOutput
    ) -> tuple[list[FrameResult], list[StreamState]]:
        reports = Report.read(output.report)
        left = output.frames([report.remembered(self.tracker) for report in reports])
        told = [report.told(self.tracker) for report in reports]
        masks = self._masks(sizes, output.masks, told)
        results, next_states = [], []
        for i, (size, state, report) in enumerate(zip(sizes, states, reports, strict=True)):
            results.append(self._result(size, state, report.rows(told[i]), masks[i]))
            next_states.append(StreamState(
                state.epoch, state.sequence + 1, state.next_id + report.born(), *left[i]
            ))
        return results, next_states

    def _masks(
        self, sizes: Sequence[Size], soft: Tensor, told: Sequence[Int64Array]
    ) -> list[list[RegionMask]]:
        # In pixels of each frame; frames of one size together.
        soft = visible_part(soft.view(len(sizes), -1, *soft.shape[-2:]), self._geometry)
        masks: list[list[RegionMask]] = [[] for _ in sizes]
        for size in set(sizes):
            frames = [i for i, its in enumerate(sizes) if its == size]
            frame = torch.from_numpy(np.repeat(frames, [len(told[i]) for i in frames]))
            row = torch.from_numpy(np.concatenate([told[i] for i in frames]))
            pixels = iter(image_masks(soft[frame.to(soft.device), row.to(soft.device)], *size))
            for i in frames:
                masks[i] = [next(pixels) for _ in told[i]]
        return masks

    def _result(
        self, size: Size, state: StreamState, tracks: Report, masks: Sequence[RegionMask]
    ) -> FrameResult:
        height, width = size
        return FrameResult(
            image_height=height,
            image_width=width,
            epoch=state.epoch,
            sequence=state.sequence + 1,
            temporal_valid=state.features is not None,
            track_ids=tracks.ids,
            statuses=self._statuses(tracks),
            sources=np.where(tracks.missed > 0, int(Source.PROPAGATED), int(Source.DETECTED)),
            class_ids=tracks.classes,
            scores=tracks.scores.clip(0, 1),
            detection_scores=tracks.detection_scores.clip(0, 1),
            ages=tracks.ages,
            hits=tracks.hits,
            missed=tracks.missed,
            first_seen=tracks.first_seen,
            last_detected=tracks.last_detected,
            boxes=self._pixels(tracks.boxes, height, width),
            masks=[
                RegionMask.empty() if ended else mask
                for mask, ended in zip(masks, tracks.ended(self.tracker), strict=True)
            ],
        )

    def _statuses(self, tracks: Report) -> Int64Array:
        seen = np.where(
            tracks.hits >= self.tracker.confirm_hits, int(TrackStatus.CONFIRMED),
            int(TrackStatus.TENTATIVE),
        )
        status = np.where(tracks.missed > 0, int(TrackStatus.COASTING), seen)
        return np.where(tracks.ended(self.tracker), int(TrackStatus.TERMINATED), status)

    def _pixels(self, boxes: Float32Array, height: int, width: int) -> Float32Array:
        corners = boxes.reshape(-1, 2, 2)
        scale = np.array([width / self._geometry.width, height / self._geometry.height])
        ordered = np.sort(corners * scale, axis=1)
        clipped = np.clip(np.nan_to_num(ordered), 0, (width, height))
        return np.asarray(clipped.reshape(-1, 4), dtype=np.float32)


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
