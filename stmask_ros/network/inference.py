"""The network as inference runs it: the same numbers, fewer operations."""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from stmask_ros.network.deformable import ModulatedDeformableConv2d
from stmask_ros.network.stmask import STMask


def prepared_for_inference(network: STMask, device: torch.device) -> STMask:
    """
    Return a copy on the device, in evaluation mode, with batch norm folded, channels last.

    Its parameters are no longer those of a checkpoint, and it cannot be trained.
    """
    prepared = copy.deepcopy(network).eval().requires_grad_(False)
    for module in list(prepared.modules()):
        _fold_batch_norm(module)
    channels_last: STMask = prepared.to(memory_format=torch.channels_last)
    return channels_last.to(device)


def _fold_batch_norm(module: nn.Module) -> None:
    # In every backbone, a batch norm is registered right after the convolution that it follows.
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
