# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A batch's step as a CUDA graph: recorded once for each shape, then replayed by one call."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, is_dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

_Inputs = TypeVar('_Inputs')
_Outputs = TypeVar('_Outputs')
_Options = TypeVar('_Options')

_WARM_UPS = 3
_MOST_GRAPHS = 8
_logger = logging.getLogger(__name__)


def float32_convolutions(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which float32 convolutions are that, not TF32, and chosen by trial."""
    if device.type != 'cuda':
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False)


def tensors_of(value: object) -> list[Tensor]:
    """Return the tensors of a dataclass of tensors, or of such dataclasses, in one order."""
    if isinstance(value, Tensor):
        return [value]
    assert is_dataclass(value), 'of a batch, everything is a tensor'
    return [t for f in fields(value) for t in tensors_of(getattr(value, f.name))]


class CapturedStep(Generic[_Inputs, _Outputs]):
    """One recording. What it returns is overwritten by the next call."""

    def __init__(self, compute: Callable[[_Inputs], _Outputs], example: _Inputs) -> None:
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
        # What other threads of the process do with the GPU meanwhile is no part of it.
        with torch.cuda.graph(self._graph, capture_error_mode='thread_local'):
            self._output = compute(example)

    def __call__(self, inputs: _Inputs) -> _Outputs:
        """Replay it on other values."""
        for mine, theirs in zip(tensors_of(self._inputs), tensors_of(inputs), strict=True):
            mine.copy_(theirs, non_blocking=True)
        self._graph.replay()
        return self._output


class CapturingStep(Generic[_Inputs, _Options, _Outputs]):
    """
    Computes batches by recordings, or as it is where recording fails.

    Inputs are dataclasses of tensors, see tensors_of(); options compare by their values.
    """

    def __init__(self, compute: Callable[[_Inputs, _Options], _Outputs]) -> None:
        """Record nothing yet."""
        self._compute = compute
        self._graphs: dict[object, CapturedStep[_Inputs, _Outputs]] = {}
        self._fails = False

    def __call__(self, inputs: _Inputs, options: _Options) -> _Outputs:
        """As compute(); what it returns is overwritten by the next call."""
        if self._fails:
            return self._compute(inputs, options)
        key = (options, *(tensor.shape for tensor in tensors_of(inputs)))
        if key not in self._graphs:
            if len(self._graphs) == _MOST_GRAPHS:
                self._graphs.clear()
            try:
                self._graphs[key] = CapturedStep(
                    lambda values: self._compute(values, options), inputs
                )
            except RuntimeError as error:
                self._fails = True
                _logger.warning(
                    'the step cannot be recorded as a CUDA graph and runs without, slower: %s',
                    error,
                )
                return self._compute(inputs, options)
        return self._graphs[key](inputs)
