"""Weights to start a training from."""

from __future__ import annotations

import torch
from torch import nn

from stmask_ros.families.stmask.network import STMask, initialise


def initialise_for_training(network: STMask, seed: int) -> None:
    """
    Give the network fresh weights: Xavier's, uniform, in all but the backbone, as released.

    He's would keep the size of a trained backbone's features up to the masks, whose sigmoids
    would then start saturated and learn nothing.
    """
    initialise(network, seed)
    parts = [network.fpn, network.proto_net, network.head, network.TemporalNet]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in (m for part in parts if part is not None for m in part.modules()):
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
