"""The network as inference runs it: the same numbers, fewer operations."""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from stmask_ros.families.stmask.distance_head import DistanceHead
from stmask_ros.families.stmask.network import STMask
from stmask_ros.layers.deformable import ModulatedDeformableConv2d
from stmask_ros.layers.winograd import WinogradConv2d

# With fewer, the transforms take longer than the multiplications that they save.
FEWEST_CHANNELS = 128


def prepared_for_inference(
    network: STMask, device: torch.device, dtype: torch.dtype = torch.float32
) -> STMask:
    """
    Return a copy on the device, in evaluation mode, with batch norm folded, channels last.

    dtype: of its weights and feature maps; what it predicts is float32 whatever they are.
    On the CPU in float32, 3x3 convolutions of many channels are Winograd's.
    Its parameters are no longer those of a checkpoint, and it cannot be trained.
    """
    prepared = copy.deepcopy(network).eval().requires_grad_(False)
    for module in list(prepared.modules()):
        _fold_batch_norm(module)
    prepared = prepared.to(memory_format=torch.channels_last)
    if device.type == 'cpu' and dtype == torch.float32:
        head = prepared.head
        dense = [head.levels] if isinstance(head, DistanceHead) else [
            head.upfeature, head.bbox_extra, head.conf_extra
        ]
        for part in (prepared.backbone, prepared.fpn, prepared.proto_net, prepared.TemporalNet,
                     *dense):
            _use_winograd(part)
    return prepared.to(device, dtype)


def _use_winograd(part: nn.Module | None) -> None:
    for parent in [] if part is None else list(part.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.Conv2d) and _is_worth_winograd(layer):
                setattr(parent, name, WinogradConv2d(layer))


def _is_worth_winograd(layer: nn.Conv2d) -> bool:
    shape = (layer.kernel_size, layer.stride, layer.padding, layer.groups)
    fewest = min(layer.in_channels, layer.out_channels)
    return shape == ((3, 3), (1, 1), (1, 1), 1) and fewest >= FEWEST_CHANNELS


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
