# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Fresh weights: those that a training starts with, and those that detect something untrained."""

from __future__ import annotations

import math

import torch
from torch import nn

from stmask_ros.families.sipmask.towers import Towers

# The score of every class at the start of a training (focal loss).
PRIOR = 0.01


def initialise(network: nn.Module, head: Towers, seed: int) -> None:
    """
    Give a network fresh weights from a seed, with which it detects something.

    Boxes of about six cells; scores that differ by cell, since towers are normalised.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _initialise_all(network)
        for layer in (head.fcos_cls, head.fcos_reg, head.fcos_centerness):
            nn.init.normal_(layer.weight, std=0.02)
    for layer, bias in ((head.fcos_cls, -1.0), (head.fcos_reg, 3.0), (head.fcos_centerness, 1.0)):
        assert layer.bias is not None
        nn.init.constant_(layer.bias, bias)


def initialise_for_training(network: nn.Module, head: Towers, seed: int) -> None:
    """Give a network the weights that a training without others starts with (section 10)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _initialise_all(network)
        for name, layer in head.named_modules():
            if isinstance(layer, nn.Conv2d) and not name.endswith('_track'):
                nn.init.normal_(layer.weight, std=0.01)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
    nn.init.zeros_(head.feat_align.conv_offset.weight)
    assert head.fcos_cls.bias is not None
    nn.init.constant_(head.fcos_cls.bias, -math.log((1 - PRIOR) / PRIOR))


def _initialise_all(network: nn.Module) -> None:
    for name, layer in network.named_modules():
        if not isinstance(layer, nn.Conv2d):
            continue
        layer.reset_parameters()
        if name.endswith('_track'):  # keeps PyTorch's own
            continue
        if name.startswith('neck.'):
            nn.init.xavier_uniform_(layer.weight)
        else:
            nn.init.kaiming_normal_(layer.weight, nonlinearity='relu')
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
