# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""SipMask, or SG-Net, with its frames computed by another program: all else stays PyTorch's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from stmask_ros.families.family import Compile, Precision
from stmask_ros.families.frame_programs import FramePrograms
from stmask_ros.families.sipmask.frame_step import MaskNetwork
from stmask_ros.families.sipmask.inference import FRAME_PARTS
from stmask_ros.families.sipmask.network import HeadOutput, Predictions
from stmask_ros.families.sipmask.preprocess import geometry_of
from stmask_ros.families.sipmask.towers import TowerOutput
from stmask_ros.layers.inference import folded


class _Frame(nn.Module):
    # Images -> of Predictions, what a step reads: class logits, distances, centerness and
    # prototypes; then, channels last as engines compute them and cells are read, the tracking
    # features, the finest box tower, and the aligned levels.

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        head = self.network(images).head
        towers = head.towers
        maps = (head.track_features, towers.box_towers[0], *towers.aligned)
        return (
            towers.class_logits, towers.distances, towers.centerness, head.prototypes,
            *(each.permute(0, 2, 3, 1) for each in maps),
        )


class EngineNetwork(nn.Module):
    """A MaskNetwork with the same predictions, but for what no step reads, which is empty."""

    def __init__(self, prepared: MaskNetwork, frames: FramePrograms, dtype: torch.dtype) -> None:
        """
        Keep what comes after the frame.

        prepared: for inference; it is not called. frames: compute _Frame. dtype: of the prepared
        network's weights.
        """
        super().__init__()
        self.config = prepared.config
        self.coefficients_at = prepared.coefficients_at
        self.embeddings_at = prepared.embeddings_at
        self.motion = prepared.motion
        self._frames = frames
        self._dtype = dtype

    def forward(self, images: Tensor) -> Predictions:
        """As SipMask."""
        logits, distances, centerness, prototypes, *cells = self._frames(images)
        tracking, box_tower, *aligned = (
            each.permute(0, 3, 1, 2).to(self._dtype) for each in cells
        )
        towers = TowerOutput(
            [], [box_tower], [], aligned, [], logits, distances, centerness,
            tuple((int(level.shape[2]), int(level.shape[3])) for level in aligned),
        )
        return Predictions((), [], HeadOutput(towers, images.new_empty(0), prototypes, tracking))


def with_engine(
    prepared: Any, network: nn.Module, compiled: Compile, precision: Precision
) -> EngineNetwork:
    """
    Return the prepared network with its frames computed by an engine, those of 16:9 at once.

    network: that it was prepared from. compiled: makes programs of modules. precision: of the
    engine.
    """
    config, plain = prepared.config, folded(network)
    size = geometry_of((config.short_side, config.long_side), config).padded
    frames = FramePrograms(lambda _: _Frame(plain), size, compiled, precision)
    for part in FRAME_PARTS:
        prepared.set_submodule(part, nn.Identity())
    return EngineNetwork(prepared, frames, getattr(torch, precision))
