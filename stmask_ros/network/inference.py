"""The network as inference runs it: the same numbers, fewer operations."""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from stmask_ros.network.deformable import ModulatedDeformableConv2d
from stmask_ros.network.stmask import STMask
from stmask_ros.network.winograd import WinogradConv2d


def prepared_for_inference(network: STMask, device: torch.device) -> STMask:
    """
    Return a copy on the device, in evaluation mode, with batch norm folded, channels last.

    On the CPU, prototypes and temporal fusion are computed by Winograd's convolution.
    Its parameters are no longer those of a checkpoint, and it cannot be trained.
    """
    prepared = copy.deepcopy(network).eval().requires_grad_(False)
    for module in list(prepared.modules()):
        _fold_batch_norm(module)
    prepared = prepared.to(memory_format=torch.channels_last)
    if device.type == 'cpu':
        _use_winograd(prepared.proto_net)
        if prepared.TemporalNet is not None:
            _use_winograd(prepared.TemporalNet)
    return prepared.to(device)


def _use_winograd(part: nn.Module) -> None:
    # Only where no detection's score depends on it: elsewhere the rounding could change the order
    # of two nearly equal detections, and with it their ids.
    for name, layer in list(part.named_children()):
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
            setattr(part, name, WinogradConv2d(layer))


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
