# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""MS-STS with what it computes of a frame alone by another program: all else stays PyTorch's."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stmask_ros.families.family import Compile, Precision
from stmask_ros.families.frame_programs import FramePrograms
from stmask_ros.families.frames import Size
from stmask_ros.families.msts.grid import Grid
from stmask_ros.families.msts.network import MSTS
from stmask_ros.families.msts.preprocess import network_size
from stmask_ros.layers.inference import folded

# Of the images whose program is made at once.
_ASPECT = (9, 16)


class _Frame(nn.Module):
    # Images of one size -> MSTS.frame().

    def __init__(self, network: MSTS, size: Size) -> None:
        super().__init__()
        self.network = network
        self._grid = Grid.unpadded(size, network.config.channels, torch.device('cpu'))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.network.frame(images, self._grid)


class EngineMSTS(MSTS):
    """The same network, whose frame() the programs of an engine compute."""

    def __init__(self, network: MSTS, frames: FramePrograms) -> None:
        """Keep of a prepared network what relates frames."""
        nn.Module.__init__(self)
        self.config = network.config
        self.level_embed = network.level_embed
        self.decoder = network.decoder
        self.controller = network.controller
        if network.config.encoder != 'per_frame':
            self.encoder = network.encoder
            self.mask_head = network.mask_head
        self._frames = frames

    def frame(self, images: Tensor, grid: Grid) -> tuple[Tensor, ...]:
        """As MSTS."""
        return tuple(each.to(self.dtype) for each in self._frames(images))


def with_engine(
    prepared: MSTS, network: MSTS, compiled: Compile, precision: Precision
) -> EngineMSTS:
    """
    Return the prepared network with its frames computed by an engine, those of 16:9 at once.

    network: that it was prepared from. compiled: makes programs of modules. precision: of the
    engine.
    """
    plain = folded(network)
    size = network_size(_ASPECT, network.config.short_side)
    return EngineMSTS(
        prepared, FramePrograms(lambda size: _Frame(plain, size), size, compiled, precision)
    )
