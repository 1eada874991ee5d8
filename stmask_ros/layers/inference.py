# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Networks as inference runs them: the same numbers, fewer operations."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from stmask_ros.layers.deformable import ModulatedDeformableConv2d
from stmask_ros.layers.winograd import WinogradConv2d

# With fewer, the transforms take longer than the multiplications that they save.
FEWEST_CHANNELS = 128

_Network = TypeVar('_Network', bound=nn.Module)


def folded(network: _Network) -> _Network:
    """Return a copy in evaluation mode, each batch norm in the convolution right before it."""
    copied = copy.deepcopy(network).eval().requires_grad_(False)
    for module in list(copied.modules()):
        _fold_batch_norms_of(module)
    return copied


def use_winograd(part: nn.Module | None, fewest: int = FEWEST_CHANNELS) -> None:
    """Let the 3x3 convolutions of so many channels in a part of a network be Winograd's."""
    for parent in [] if part is None else list(part.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.Conv2d) and _is_worth_winograd(layer, fewest):
                if layer.bias is None:
                    layer.bias = nn.Parameter(torch.zeros(layer.out_channels), False)
                setattr(parent, name, WinogradConv2d(layer))


def _is_worth_winograd(layer: nn.Conv2d, fewest: int) -> bool:
    shape = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups)
    channels = min(layer.in_channels, layer.out_channels)
    return shape == ((3, 3), (1, 1), (1, 1), (1, 1), 1) and channels >= fewest


def _fold_batch_norms_of(module: nn.Module) -> None:
    for (_, convolution), (name, norm) in pairwise(list(module.named_children())):
        if not isinstance(norm, nn.BatchNorm2d):
            continue
        assert isinstance(convolution, nn.Conv2d | ModulatedDeformableConv2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        convolution.weight, convolution.bias = fuse_conv_bn_weights(
            convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps,
            norm.weight, norm.bias,
        )
        setattr(module, name, nn.Identity())
