# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Weights to start a training from."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from stmask_ros.families.stmask.network import STMask, initialise
from stmask_ros.families.stmask.preprocess import MEAN, STANDARD_DEVIATION


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


def lite_tensors(network: STMask, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """
    Return EfficientNet-Lite0's tensors under our names, which are in the same order.

    Those of other files stay as they are.
    """
    if '_conv_stem.weight' not in tensors:
        return tensors
    names = [f'backbone.{name}' for name in network.backbone.state_dict()]
    return dict(zip(names, _renormalised(tensors).values(), strict=False))  # classifier: last


def _renormalised(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """
    Return EfficientNet-Lite0's tensors for images that are normalised as ours.

    Its own are (values - 127) / 128. Exact but for the padding at the border.
    """
    weight = tensors['_conv_stem.weight']
    scale = torch.tensor(STANDARD_DEVIATION).view(3, 1, 1) / 128
    offset = (torch.tensor(MEAN).view(3, 1, 1) - 127) / 128
    return dict(tensors) | {
        '_conv_stem.weight': weight * scale,
        '_bn0.running_mean': tensors['_bn0.running_mean'] - (weight * offset).sum((1, 2, 3)),
    }
