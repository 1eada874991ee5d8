# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""One new frame through the network, with the frames before it from the stream's memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stmask_ros.families.msts.decoder import LayerOutput
from stmask_ros.families.msts.grid import Grid
from stmask_ros.families.msts.network import MSTS
from stmask_ros.families.msts.tracks import WindowFrame


@dataclass(frozen=True)
class Window:
    """
    What the network says of a window of T frames, the newest one last.

    output: of the last decoder layer. features: of masks, [T, 8, h, w]. frames: all T, as they
    are kept.
    """

    output: LayerOutput
    features: Tensor
    frames: tuple[WindowFrame, ...]

    @classmethod
    def of(
        cls, network: MSTS, image: Tensor, before: tuple[WindowFrame, ...], grid: Grid
    ) -> Window:
        """
        Compute a new frame, normalised [1, 3, H, W], after others of its size.

        With a per-frame encoder, this equals computing the whole window: of the frames before,
        all but the decoder is known. With one that relates frames, the encoder runs on all.
        """
        frames = (*before, WindowFrame(*(each[0] for each in network.frame(image, grid))))
        memory = torch.stack([frame.tokens for frame in frames])[None]
        if network.config.encoder == 'per_frame':
            features = torch.stack([f.features for f in frames if f.features is not None])
        else:
            memory = network.memory(memory, grid)
            features = network.mask_features(memory[0], grid.repeated(len(frames)))
        return cls(network.decoder(memory, grid)[-1], features, frames)
