# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The network as inference runs it: the same numbers, fewer operations."""

from __future__ import annotations

import torch

from stmask_ros.families.stmask.distance_head import DistanceHead
from stmask_ros.families.stmask.network import STMask
from stmask_ros.layers.inference import folded, use_winograd

# Of temporal fusion, for Winograd's: its regions of 7x7 fill four tiles badly.
FEWEST_CHANNELS_OF_REGIONS = 512


def prepared_for_inference(
    network: STMask, device: torch.device, dtype: torch.dtype = torch.float32
) -> STMask:
    """
    Return a copy on the device, in evaluation mode, with batch norm folded, channels last.

    dtype: of its weights and feature maps; what it predicts is float32 whatever they are.
    On the CPU in float32, 3x3 convolutions of many channels are Winograd's.
    Its parameters are no longer those of a checkpoint, and it cannot be trained.
    """
    prepared = folded(network).to(memory_format=torch.channels_last)
    if device.type == 'cpu' and dtype == torch.float32:
        head = prepared.head
        dense = [head.levels] if isinstance(head, DistanceHead) else [
            head.upfeature, head.bbox_extra, head.conf_extra
        ]
        for part in (prepared.backbone, prepared.fpn, prepared.proto_net, *dense):
            use_winograd(part)
        use_winograd(prepared.TemporalNet, FEWEST_CHANNELS_OF_REGIONS)
    return prepared.to(device, dtype)
