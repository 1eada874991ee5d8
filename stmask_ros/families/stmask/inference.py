"""The network as inference runs it: the same numbers, fewer operations."""

from __future__ import annotations

import copy

import torch
from torch import nn

from stmask_ros.families.stmask.distance_head import DistanceHead
from stmask_ros.families.stmask.network import STMask
from stmask_ros.layers.inference import fold_batch_norms, use_winograd


def prepared_for_inference(
    network: STMask, device: torch.device, dtype: torch.dtype = torch.float32
) -> STMask:
    """
    Return a copy on the device, in evaluation mode, with batch norm folded, channels last.

    dtype: of its weights and feature maps; what it predicts is float32 whatever they are. On a
    CPU, the first stage of the backbone is float32 always: half of what bfloat16 loses is lost
    there, and with it identities.
    On the CPU in float32, 3x3 convolutions of many channels are Winograd's.
    Its parameters are no longer those of a checkpoint, and it cannot be trained.
    """
    prepared = folded(network).to(memory_format=torch.channels_last)
    if device.type == 'cpu' and dtype == torch.float32:
        head = prepared.head
        dense = [head.levels] if isinstance(head, DistanceHead) else [
            head.upfeature, head.bbox_extra, head.conf_extra
        ]
        for part in (prepared.backbone, prepared.fpn, prepared.proto_net, prepared.TemporalNet,
                     *dense):
            use_winograd(part)
    prepared = prepared.to(device)
    first = prepared.backbone.first_layers() if device.type == 'cpu' else []
    fine = {id(module) for part in first for module in part.modules()}
    for module in prepared.modules():
        if id(module) not in fine:
            _convert(module, dtype)
    return prepared


def folded(network: STMask) -> STMask:
    """Return a copy in evaluation mode with batch norm folded into the convolutions before it."""
    copied = copy.deepcopy(network).eval().requires_grad_(False)
    fold_batch_norms(copied)
    return copied


def _convert(module: nn.Module, dtype: torch.dtype) -> None:
    # Its own parameters alone.
    for name, parameter in list(module.named_parameters(recurse=False)):
        setattr(module, name, nn.Parameter(parameter.to(dtype), requires_grad=False))
