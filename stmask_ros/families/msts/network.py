# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The network: frames in, what the decoder and the mask head say of clips out."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from stmask_ros.families.msts.config import MSTSConfig
from stmask_ros.families.msts.decoder import Decoder, LayerOutput
from stmask_ros.families.msts.encoder import Encoder
from stmask_ros.families.msts.grid import Grid
from stmask_ros.families.msts.masks import PARAMETERS, MaskHead
from stmask_ros.families.msts.perceptron import Perceptron
from stmask_ros.layers.backbone import EfficientNetLite0, ResNet


class MSTS(nn.Module):
    """
    MS-STS VIS, or SeqFormer, as its configuration says.

    It is used in parts, so that a stream computes each frame once: tokens() and memory() of
    frames, mask_features() of these (frame() as far as frames are alone), decoder() of the clip,
    mask_parameters() of chosen queries.
    """

    def __init__(self, config: MSTSConfig) -> None:
        """Create the network without weights worth using; see initialise()."""
        super().__init__()
        self.config = config
        self.backbone = build_backbone(config)
        fine, middle, coarse = self.backbone.out_channels
        self.input_proj = nn.ModuleList((
            _projection(fine, config.channels), _projection(middle, config.channels),
            _projection(coarse, config.channels), _projection(coarse, config.channels, 3, 2),
        ))
        self.level_embed = nn.Parameter(torch.zeros(len(self.input_proj), config.channels))
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.controller = Perceptron(config.channels, PARAMETERS)
        self.mask_head = MaskHead(config)

    @property
    def dtype(self) -> torch.dtype:
        """The precision of its weights."""
        return self.level_embed.dtype

    def frame(self, images: Tensor, grid: Grid) -> tuple[Tensor, ...]:
        """
        Return what is computed of normalised images [N, 3, H, W], each of them alone.

        With a per-frame encoder memory [N, S, channels] and mask features [N, 8, h, w]; with one
        that relates frames, tokens() alone. grid: of one frame.
        """
        tokens = self.tokens(images)
        if self.config.encoder != 'per_frame':
            return (tokens,)
        memory = self.memory(tokens[None], grid)[0]
        return memory, self.mask_features(memory, grid)

    def tokens(self, images: Tensor) -> Tensor:
        """Return what the encoder reads of normalised images [N, 3, H, W], [N, S, channels]."""
        maps = self.backbone(images.to(self.dtype))[-3:]
        levels = [
            project(level)
            for project, level in zip(self.input_proj, (*maps, maps[-1]), strict=True)
        ]
        return torch.cat([level.flatten(2).mT for level in levels], 1)

    def memory(self, tokens: Tensor, grid: Grid) -> Tensor:
        """
        Return the encoder's memory of clips, [B, T, S, channels].

        tokens: of their frames, the same. grid: of the clips. With a per-frame encoder, a frame's
        memory does not depend on the others.
        """
        memory: Tensor = self.encoder(tokens, self.with_levels(grid))
        return memory

    def with_levels(self, grid: Grid) -> Grid:
        """Return the grid with the codes of the levels added to the positions."""
        codes = torch.cat([
            code.expand(height * width, -1)
            for code, (height, width) in zip(self.level_embed, grid.sizes, strict=True)
        ])
        return replace(grid, position=grid.position.to(codes.dtype) + codes)

    def mask_features(self, memory: Tensor, grid: Grid) -> Tensor:
        """Return the mask features of frames, [N, 8, h, w]; memory: [N, S, channels]."""
        levels = [level.permute(0, 3, 1, 2) for level in grid.levels(memory)[:3]]
        features: Tensor = self.mask_head(levels)
        return features

    def mask_parameters(self, output: LayerOutput, clip: int, queries: Tensor) -> Tensor:
        """Return the mask parameters of queries int64 [k] of a clip, [k, 169]."""
        parameters: Tensor = self.controller(output.instances[clip, queries])
        return parameters

    def mask_centers(
        self, output: LayerOutput, clip: int, queries: Tensor, grid: Grid
    ) -> Tensor:
        """Return (x, y) from which the masks of queries int64 [k] are read [pixel], [T, k, 2]."""
        return output.centers[clip, :, queries] * grid.extent[clip]


def build_backbone(config: MSTSConfig) -> ResNet | EfficientNetLite0:
    """Return the backbone of this configuration."""
    if config.backbone == 'efficientnet_lite0':
        return EfficientNetLite0()
    return ResNet((3, 4, 6, 3) if config.backbone == 'resnet50' else (3, 4, 23, 3))


def _projection(in_channels: int, out: int, kernel: int = 1, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out, kernel, stride, kernel // 2), nn.GroupNorm(32, out)
    )


def clip_outputs(network: MSTS, images: Tensor) -> dict[str, Tensor]:
    """Return by name all that a network says of one clip, normalised [T, 3, H, W]."""
    size = (images.shape[2], images.shape[3])
    grid = Grid.unpadded(size, network.config.channels, images.device)
    memory = network.memory(network.tokens(images)[None], grid)
    features = network.mask_features(memory[0], grid)
    last = network.decoder(memory, grid)[-1]
    queries = torch.arange(network.config.queries, device=images.device)
    parameters = network.mask_parameters(last, 0, queries)
    return {
        'memory': memory, 'mask_features': features, 'class_logits': last.logits,
        'boxes': last.boxes, 'mask_parameters': parameters, 'time_weights': last.time_weights,
    }
