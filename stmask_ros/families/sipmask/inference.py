# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""SipMask, or SG-Net, as inference runs it: the same numbers, fewer operations."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from stmask_ros.layers.inference import folded, use_winograd

# What is computed of every frame, and has many channels: the rest of the head is computed where it
# is asked for, or has few.
FRAME_PARTS = (
    'backbone', 'neck', 'bbox_head.cls_convs', 'bbox_head.reg_convs', 'bbox_head.track_convs',
)

_Network = TypeVar('_Network', bound=nn.Module)


def prepared_for_inference(
    network: _Network, device: torch.device, dtype: torch.dtype = torch.float32
) -> _Network:
    """
    Return a copy on the device, in evaluation mode, with batch norm folded, channels last.

    dtype: of its weights and feature maps; what it predicts is float32 whatever they are.
    On the CPU in float32, 3x3 convolutions of many channels are Winograd's.
    Its parameters are no longer those of a checkpoint, and it cannot be trained.
    """
    prepared = folded(network).to(memory_format=torch.channels_last)
    if device.type == 'cpu' and dtype == torch.float32:
        for name in FRAME_PARTS:
            use_winograd(prepared.get_submodule(name))
    return prepared.to(device, dtype)
