# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Weights to start with (specification, section 9)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from stmask_ros.families.msts.box_attention import BoxAttention
from stmask_ros.families.msts.deformable_attention import DeformableAttention
from stmask_ros.families.msts.network import MSTS
from stmask_ros.families.msts.split_attention import SplitAttention

# Probability of every class of an untrained query.
PRIOR = 0.01


def initialise(network: MSTS, seed: int) -> None:
    """Give the network the weights that a training starts with, from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _defaults(network)
        _backbone(network.backbone)
        for part in (network.encoder, network.decoder):
            _transformer(part)
        _projections(network)
        _predictions(network)
        _masks(network)


def initialise_for_use(network: MSTS, seed: int) -> None:
    """Give the network fresh weights with which it finds something, if nothing that is there."""
    initialise(network, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for classify in network.decoder.class_embed:
            assert isinstance(classify, nn.Linear)
            nn.init.normal_(classify.weight, std=0.1)
            nn.init.zeros_(classify.bias)


def _defaults(network: MSTS) -> None:
    # PyTorch's own, once more: those of construction came from no seed.
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.LayerNorm | nn.GroupNorm):
            module.reset_parameters()


def _backbone(backbone: nn.Module) -> None:
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity='relu')


def _transformer(part: nn.Module) -> None:
    for parameter in part.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
    for module in part.modules():
        if isinstance(module, DeformableAttention | SplitAttention | BoxAttention):
            module.initialise()


def _projections(network: MSTS) -> None:
    nn.init.normal_(network.level_embed)
    nn.init.normal_(network.decoder.query_embed.weight)
    nn.init.xavier_uniform_(network.decoder.reference_points.weight)
    nn.init.zeros_(network.decoder.reference_points.bias)
    for module in network.input_proj.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.xavier_uniform_(module.weight)
            _zero(module.bias)


def _predictions(network: MSTS) -> None:
    decoder = network.decoder
    for layer, (classify, refine) in enumerate(
        zip(decoder.class_embed, decoder.bbox_embed, strict=True)
    ):
        assert isinstance(classify, nn.Linear)
        nn.init.constant_(classify.bias, -math.log((1 - PRIOR) / PRIOR))
        last = list(refine.modules())[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        if layer == 0:
            nn.init.constant_(last.bias[2:], -2)
    for module in network.controller.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)


def _masks(network: MSTS) -> None:
    for module in network.mask_head.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_uniform_(module.weight, a=1)
            _zero(module.bias)


def _zero(bias: Tensor | None) -> None:
    if bias is not None:
        nn.init.zeros_(bias)
