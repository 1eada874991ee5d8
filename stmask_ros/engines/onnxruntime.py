# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime, on a CPU or by its CUDA provider."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import onnxruntime
import torch
from torch import Tensor, nn

from stmask_ros.engines.onnx import write_onnx
from stmask_ros.families.errors import ModelError
from stmask_ros.families.family import Precision
from stmask_ros.layers.program import Program

# The first whose CPU provider has DeformConv.
_DEFORMABLE_SINCE = (1, 32)


class ONNXRuntime:
    """The engine of ONNX files. On a GPU none of this has run yet."""

    suffix = '.onnx'

    @property
    def precisions(self) -> Sequence[Precision]:
        """The file's own alone."""
        return ('float32',)

    def export(self, module: nn.Module, example: Tensor, path: Path) -> None:
        """Write ONNX, with GridSample where this version has no DeformConv."""
        release = tuple(map(int, re.findall(r'\d+', onnxruntime.__version__)[:2]))
        write_onnx(module, example, path, deformable=release >= _DEFORMABLE_SINCE)

    def load(self, path: Path, device: torch.device, precision: Precision) -> Program:
        """Open a session."""
        provider = 'CPUExecutionProvider' if device.type == 'cpu' else 'CUDAExecutionProvider'
        if provider not in onnxruntime.get_available_providers():
            raise ModelError(
                f'this ONNX Runtime ({onnxruntime.__version__}) has no {provider}, which the '
                f"device {device} needs: install onnxruntime-gpu, or set the device to 'cpu'"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        # Idle threads are to sleep: other programs need the processor too.
        options.add_session_config_entry('session.intra_op.allow_spinning', '0')
        settings = {} if device.type == 'cpu' else {'device_id': str(device.index or 0)}
        session = onnxruntime.InferenceSession(
            str(path), options, providers=[(provider, settings)]
        )
        name = session.get_inputs()[0].name

        def run(images: Tensor) -> list[Tensor]:
            outputs = session.run(None, {name: images.contiguous().cpu().numpy()})
            return [torch.from_numpy(output).to(device) for output in outputs]

        return run
