# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""OpenVINO: the network as its intermediate representation, on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import openvino
import torch
from torch import Tensor, nn

from stmask_ros.engines.programs import exported
from stmask_ros.families.errors import ModelError
from stmask_ros.families.family import Precision
from stmask_ros.layers.processor import multiplies_bfloat16
from stmask_ros.layers.program import Program

_HINTS = {'float32': 'f32', 'bfloat16': 'bf16'}


@lru_cache(maxsize=1)
def _core() -> openvino.Core:
    """
    Return the one of this process, which stays until its end.

    The first program of a core gives its thread another stack for signals, and the core's end
    takes that away: of two cores, the one that ends last puts back what the first took away, and
    the next signal ends the process.
    """
    return openvino.Core()


class OpenVINO:
    """The engine of Intel, which runs on other processors as well."""

    suffix = '.xml'

    @property
    def precisions(self) -> Sequence[Precision]:
        """Bfloat16 where the processor has it."""
        return ('bfloat16', 'float32') if multiplies_bfloat16() else ('float32',)

    def export(self, module: nn.Module, example: Tensor, path: Path) -> None:
        """Write the .xml and a .bin beside it, with weights in float32."""
        # Of this shape alone: what is known before costs nothing while it runs.
        model = openvino.convert_model(exported(module, example), input=list(example.shape))
        openvino.save_model(model, path, compress_to_fp16=False)

    def load(self, path: Path, device: torch.device, precision: Precision) -> Program:
        """Compile for the CPU."""
        if device.type != 'cpu':
            raise ModelError(f"engine 'openvino' runs on the device 'cpu' only, got {device}")
        compiled = _core().compile_model(path, 'CPU', {
            'INFERENCE_PRECISION_HINT': _HINTS[precision],
            'INFERENCE_NUM_THREADS': torch.get_num_threads(),
            'NUM_STREAMS': 1,
            'PERFORMANCE_HINT': 'LATENCY',
        })
        request = compiled.create_infer_request()

        def run(images: Tensor) -> list[Tensor]:
            outputs = request.infer([images.contiguous().numpy()], share_inputs=True)
            return [torch.from_numpy(outputs[i]) for i in range(len(outputs))]

        return run
