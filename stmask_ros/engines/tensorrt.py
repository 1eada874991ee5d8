# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""TensorRT, on an NVIDIA GPU. No GPU was at hand: none of this has run yet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import tensorrt
import torch
from torch import Tensor, nn

from stmask_ros.engines.onnx import write_onnx
from stmask_ros.families.errors import ModelError
from stmask_ros.families.family import Precision
from stmask_ros.layers.program import Program

_FLAGS = {'float16': 'FP16', 'bfloat16': 'BF16'}


class TensorRT:
    """The engine of NVIDIA; a plan is of one GPU and one precision."""

    def __init__(self, precision: Precision) -> None:
        """precision: that plans are built for."""
        self._precision = precision
        self._logger = tensorrt.Logger(tensorrt.Logger.WARNING)

    @property
    def suffix(self) -> str:
        """With the GPU that a plan is for."""
        gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else 'no-gpu'
        return f'.{gpu.replace(" ", "-")}.{self._precision}.plan'

    @property
    def precisions(self) -> Sequence[Precision]:
        """All, by flags of the builder."""
        return ('float16', 'bfloat16', 'float32')

    def export(self, module: nn.Module, example: Tensor, path: Path) -> None:
        """Build a plan, from ONNX with GridSample: TensorRT has no DeformConv."""
        builder = tensorrt.Builder(self._logger)
        network = builder.create_network()
        parser = tensorrt.OnnxParser(network, self._logger)
        with TemporaryDirectory() as folder:
            file = Path(folder) / 'network.onnx'
            write_onnx(module, example, file, deformable=False)
            if not parser.parse_from_file(str(file)):
                errors = '; '.join(str(parser.get_error(i)) for i in range(parser.num_errors))
                raise ModelError(f'TensorRT {tensorrt.__version__} does not read it: {errors}')
        config = builder.create_builder_config()
        if flag := _FLAGS.get(self._precision):
            config.set_flag(getattr(tensorrt.BuilderFlag, flag))
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise ModelError(f'TensorRT {tensorrt.__version__} built no plan; its log says why')
        path.write_bytes(bytes(plan))

    def load(self, path: Path, device: torch.device, precision: Precision) -> Program:
        """Load the plan; what it computes is in PyTorch's memory, on PyTorch's stream."""
        if device.type != 'cuda':
            raise ModelError(f"engine 'tensorrt' needs the device 'cuda', got {device}")
        engine = tensorrt.Runtime(self._logger).deserialize_cuda_engine(path.read_bytes())
        if engine is None:
            raise ModelError(f'{path} is no plan of this TensorRT and GPU: remove it')
        context = engine.create_execution_context()
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]

        def run(images: Tensor) -> list[Tensor]:
            tensors = [images.contiguous()] + [
                torch.empty(tuple(engine.get_tensor_shape(name)), device=device)
                for name in names[1:]
            ]
            for name, tensor in zip(names, tensors, strict=True):
                context.set_tensor_address(name, tensor.data_ptr())
            context.execute_async_v3(torch.cuda.current_stream(device).cuda_stream)
            return tensors[1:]

        return run
