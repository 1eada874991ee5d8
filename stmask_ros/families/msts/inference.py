# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The network as inference runs it: the same numbers, fewer operations."""

from __future__ import annotations

import torch

from stmask_ros.families.msts.network import MSTS
from stmask_ros.layers.inference import folded, use_winograd


def prepared_for_inference(
    network: MSTS, device: torch.device, dtype: torch.dtype = torch.float32
) -> MSTS:
    """
    Return a copy on the device, in evaluation mode, with batch norm folded, channels last.

    dtype: of its weights and maps; what it predicts is float32 whatever they are. On the CPU in
    float32, 3x3 convolutions of many channels are Winograd's. It cannot be trained.
    """
    prepared = folded(network).to(memory_format=torch.channels_last)
    if device.type == 'cpu' and dtype == torch.float32:
        use_winograd(prepared.backbone)
        use_winograd(prepared.mask_head)
    return prepared.to(device, dtype)
