"""A batch's step as a CUDA graph: recorded once for each shape, then replayed by one call."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch

from stmask_ros.families.stmask.frame_step import StepInput, StepOutput
from stmask_ros.families.stmask.tracks import TrackerConfig

BatchStep = Callable[[StepInput, TrackerConfig], StepOutput]
_WARM_UPS = 3
_MOST_GRAPHS = 8
_logger = logging.getLogger(__name__)


def numerics(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which float32 convolutions are that, not TF32, and chosen by trial."""
    if device.type != 'cuda':
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False)


class CapturedStep:
    """One recording. What it returns is overwritten by the next call."""

    def __init__(self, compute: Callable[[StepInput], StepOutput], example: StepInput) -> None:
        """Record the computation on inputs of the example's shapes."""
        self._inputs = example
        # Libraries choose their kernels and allocate on the first calls, which is not recorded.
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UPS):
                compute(example)
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._output = compute(example)

    def __call__(self, inputs: StepInput) -> StepOutput:
        """Replay it on other values."""
        for mine, theirs in zip(self._inputs.tensors(), inputs.tensors(), strict=True):
            mine.copy_(theirs, non_blocking=True)
        self._graph.replay()
        return self._output


class CapturingStep:
    """Computes batches by recordings, or as it is where recording fails."""

    def __init__(self, compute: BatchStep) -> None:
        """Record nothing yet."""
        self._compute = compute
        self._graphs: dict[object, CapturedStep] = {}
        self._fails = False

    def __call__(self, inputs: StepInput, tracker: TrackerConfig) -> StepOutput:
        """As compute(); what it returns is overwritten by the next call."""
        if self._fails:
            return self._compute(inputs, tracker)
        key = (tracker, *(tensor.shape for tensor in inputs.tensors()))
        if key not in self._graphs:
            if len(self._graphs) == _MOST_GRAPHS:
                self._graphs.clear()
            try:
                self._graphs[key] = CapturedStep(
                    lambda values: self._compute(values, tracker), inputs
                )
            except RuntimeError as error:
                self._fails = True
                _logger.warning(
                    'the step cannot be recorded as a CUDA graph and runs without, slower: %s',
                    error,
                )
                return self._compute(inputs, tracker)
        return self._graphs[key](inputs)
