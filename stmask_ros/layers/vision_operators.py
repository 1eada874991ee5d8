# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Operators of torchvision without its Python package, whose import takes as long as PyTorch's.

A node is up that much earlier. Gradients and exported programs need the package.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import Tensor

Size = tuple[int, int]


def roi_align(features: Tensor, rois: Tensor, size: Size, samples: int = -1) -> Tensor:
    """
    Pool regions of maps, as torchvision.ops.roi_align with aligned=True.

    features: [B, C, H, W]. rois: [N, 5], index of the batch and corners [cells]. size: height and
    width of the result [cells]. samples: along each axis of a cell; as many as fit if negative.
    Returns [N, C, height, width].
    """
    if torch.is_grad_enabled():
        load_package()
    pooled: Tensor = torch.ops.torchvision.roi_align(
        features, rois, 1.0, size[0], size[1], samples, True)
    return pooled


def deform_conv2d(
    x: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: Size,
    modulation: Tensor | None,
) -> Tensor:
    """Convolve at displaced taps, as torchvision.ops.deform_conv2d; see deformable_convolution."""
    if torch.is_grad_enabled():
        load_package()
    modulated = modulation is not None
    out: Tensor = torch.ops.torchvision.deform_conv2d(
        x, weight, offset,
        modulation if modulated else x.new_zeros(len(x), 0),
        bias if bias is not None else x.new_zeros(len(weight)),
        stride, stride, *padding, 1, 1,
        x.shape[1] // weight.shape[1],
        offset.shape[1] // (2 * weight.shape[2] * weight.shape[3]),
        modulated,
    )
    return out


def load_package() -> None:
    """Register the gradients of the operators, and what an export needs to know of them."""
    import torchvision as torchvision


def _load_operators() -> None:
    spec = importlib.util.find_spec('torchvision')
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("No module named 'torchvision'", name='torchvision')
    libraries = list(Path(spec.origin).parent.glob('_C*.so'))
    if len(libraries) == 1:
        torch.ops.load_library(str(libraries[0]))
    else:
        load_package()


_load_operators()
