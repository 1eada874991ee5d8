# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""ONNX files, checked as they are written."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stmask_ros.engines.programs import exported, without_deformable
from stmask_ros.families.errors import ModelError

# DeformConv came with 19, GridSample's names of modes with 20.
OPSET = 20


def write_onnx(module: nn.Module, example: Tensor, path: Path, deformable: bool) -> None:
    """
    Write a module from one tensor to a tuple of them, and check types and shapes of all in it.

    deformable: with DeformConv; otherwise with GridSample. Raises ModelError if the packages that
    write ONNX are not installed.
    """
    try:
        import onnx
        from onnxscript import opset20
    except ImportError as error:
        raise ModelError(
            f'to export ONNX, {error.name} has to be installed: pip install onnx onnxscript'
        ) from error

    def deform_conv(
        x: Any, weight: Any, offset: Any, mask: Any, bias: Any, stride_h: int, stride_w: int,
        pad_h: int, pad_w: int, dilation_h: int, dilation_w: int, groups: int,
        offset_groups: int, use_mask: bool,
    ) -> Any:
        return opset20.DeformConv(
            x, weight, offset, bias, mask if use_mask else None, strides=[stride_h, stride_w],
            pads=[pad_h, pad_w, pad_h, pad_w], dilations=[dilation_h, dilation_w], group=groups,
            offset_group=offset_groups,
        )

    program = exported(module, example)
    if not deformable:
        program = without_deformable(program)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of what the exporter thinks of itself
        written = torch.onnx.export(
            program, dynamo=True, opset_version=OPSET, verbose=False,
            custom_translation_table={torch.ops.torchvision.deform_conv2d.default: deform_conv},
        )
    assert written is not None
    written.save(path)
    onnx.checker.check_model(path, full_check=True)
