# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""MS-STS of every kind, small enough to step in milliseconds."""

from __future__ import annotations

from typing import Any

import torch

from stmask_ros.families.msts.config import MSTSConfig
from stmask_ros.families.msts.initialisation import initialise_for_use
from stmask_ros.families.msts.network import MSTS


def small_config(**options: Any) -> MSTSConfig:
    """Return a configuration of few channels, layers and queries, with a small input."""
    return MSTSConfig.named('msts_lite', **{
        'num_classes': 3, 'channels': 64, 'heads': 4, 'feedforward': 64, 'queries': 12,
        'encoder_layers': 2, 'decoder_layers': 2, 'short_side': 64, 'window': 3, 'dropout': 0.0,
    } | options)


def small_network(seed: int = 0, modules: bool = False, **options: Any) -> MSTS:
    """Return a network in evaluation mode; modules: the paper's, with weights that matter."""
    if modules:
        options = {'encoder': 'msts', 'box_attention': True} | options
    network = MSTS(small_config(**options))
    initialise_for_use(network, seed)
    torch.manual_seed(seed)
    for name, parameter in network.named_parameters():
        if name.endswith(('split_attn.out.weight', 'temporal_attn_box.proj.weight')):
            torch.nn.init.normal_(parameter, std=0.1)
    return network.eval().requires_grad_(False)
