# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The engines by name, and what each is asked to do."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import Distribution
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from stmask_ros.families.errors import ModelError
from stmask_ros.families.family import Precision
from stmask_ros.layers.program import Program

Engine = Literal['torch', 'onnxruntime', 'openvino', 'tensorrt']


class Toolkit(Protocol):
    """What one engine can do, with its package imported."""

    @property
    def suffix(self) -> str:
        """Of its files, with the dot."""
        ...

    @property
    def precisions(self) -> Sequence[Precision]:
        """In which it runs a network on this machine, the fastest first."""
        ...

    def export(self, module: nn.Module, example: Tensor, path: Path) -> None:
        """Write a module from one tensor to a tuple of them, for inputs like the example."""
        ...

    def load(self, path: Path, device: torch.device, precision: Precision) -> Program:
        """Return what was written, ready to run with as many threads as PyTorch has."""
        ...


def engine_version(engine: Engine) -> str:
    """Return the version of the engine that is installed; ModelError if it is not."""
    for name in _DISTRIBUTIONS[engine]:
        for distribution in Distribution.discover(name=name):
            return distribution.version
    raise ModelError(
        f'engine {engine!r} was asked for and is not installed: '
        f"pip install 'stmask-ros[{engine}]', or use engine 'torch'"
    )


def toolkit(engine: Engine, precision: Precision) -> Toolkit:
    """Return an engine's toolkit for files of a precision; ModelError if it is not installed."""
    engine_version(engine)
    # Imported here, since each of them imports its engine.
    if engine == 'openvino':
        from stmask_ros.engines.openvino import OpenVINO
        return OpenVINO()
    if engine == 'onnxruntime':
        from stmask_ros.engines.onnxruntime import ONNXRuntime
        return ONNXRuntime()
    from stmask_ros.engines.tensorrt import TensorRT
    return TensorRT(precision)


# The same module comes under several names.
_DISTRIBUTIONS: dict[Engine, tuple[str, ...]] = {
    'torch': ('torch',),
    'onnxruntime': ('onnxruntime', 'onnxruntime-gpu'),
    'openvino': ('openvino',),
    'tensorrt': ('tensorrt', 'tensorrt-cu12', 'tensorrt-cu13'),
}
