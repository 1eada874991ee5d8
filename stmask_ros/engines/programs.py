# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Modules as programs that engines can read."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from stmask_ros.layers.deformable import deformable_convolution_by_grid
from stmask_ros.layers.vision_operators import load_package


def exported(module: nn.Module, example: Tensor) -> ExportedProgram:
    """Return the program of a module in evaluation mode, for inputs like the example."""
    load_package()
    with torch.no_grad():
        return torch.export.export(module, (example,))


def without_deformable(program: ExportedProgram) -> ExportedProgram:
    """Return the program with its deformable convolutions as grid samples and products."""
    plain: ExportedProgram = program.run_decompositions({
        torch.ops.torchvision.deform_conv2d.default: deformable_convolution_by_grid
    })
    return plain
