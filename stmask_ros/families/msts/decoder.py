# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The decoder: queries become instances, each with a box in every frame (specification, 6)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stmask_ros.families.msts.box_attention import BoxAttention
from stmask_ros.families.msts.config import MSTSConfig
from stmask_ros.families.msts.deformable_attention import InstanceAttention
from stmask_ros.families.msts.grid import Grid
from stmask_ros.families.msts.perceptron import Perceptron


@dataclass(frozen=True)
class LayerOutput:
    """
    What a decoder layer says of the Q queries of B clips of T frames.

    instances: [B, Q, channels]. logits: [B, Q, K + 2], of the whole clip. boxes: (x, y, width,
    height), center first, in fractions of the image, [B, T, Q, 4]. centers: (x, y) of the boxes
    that went into the layer, [B, T, Q, 2]. time_weights: share of each frame in the instance,
    [B, T, Q].
    """

    instances: Tensor
    logits: Tensor
    boxes: Tensor
    centers: Tensor
    time_weights: Tensor


class DecoderLayer(nn.Module):
    """Self-attention of both streams, attention to the frames, feed-forward of both."""

    def __init__(self, config: MSTSConfig) -> None:
        """Create the layer; what ends in _box is the box stream's."""
        super().__init__()
        channels, hidden = config.channels, config.feedforward
        self.self_attn = nn.MultiheadAttention(
            channels, config.heads, config.dropout, batch_first=True
        )
        self.self_attn_box = nn.MultiheadAttention(
            channels, config.heads, config.dropout, batch_first=True
        )
        self.cross_attn = InstanceAttention(config)
        self.temporal_attn_box = BoxAttention(config) if config.box_attention else None
        self.time_attention_weights = nn.Linear(channels, 1)
        self.norm1, self.norm1_box = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.norm2, self.norm2_box = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.norm3, self.norm3_box = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.linear1, self.linear1_box = (nn.Linear(channels, hidden) for _ in range(2))
        self.linear2, self.linear2_box = (nn.Linear(hidden, channels) for _ in range(2))
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, instances: Tensor, boxes: Tensor, position: Tensor, references: Tensor,
        memory: Tensor, grid: Grid,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """
        Return instances [B, Q, C], boxes [B, T, Q, C] and time weights [B, T, Q].

        instances: [B, Q, C]. boxes: [B, T, Q, C], in the first layer T = 1: all frames are still
        alike. position: [Q, C], of the queries. references: [B, T, Q, 2 or 4]. memory:
        [B, T, S, C]. grid: of the clips.
        """
        instances = self._instances_among_themselves(instances, position)
        boxes = self._boxes_among_themselves(boxes, position)
        for_instances, for_boxes = self._looked(boxes + position, references, memory, grid)
        boxes = self.norm1_box(boxes + self.dropout(for_boxes))
        if self.temporal_attn_box is not None:
            boxes = boxes + self.temporal_attn_box(boxes)
        hidden = self.dropout(self.linear1_box(boxes).relu())
        boxes = self.norm3_box(boxes + self.dropout(self.linear2_box(hidden)))
        time_weights = self.time_attention_weights(boxes).softmax(1)
        seen = (time_weights * for_instances).sum(1)
        instances = self.norm1(instances + self.dropout(seen))
        hidden = self.dropout(self.linear1(instances).relu())
        instances = self.norm3(instances + self.dropout(self.linear2(hidden)))
        return instances, boxes, time_weights.squeeze(-1)

    def _instances_among_themselves(self, instances: Tensor, position: Tensor) -> Tensor:
        placed = instances + position
        attended, _ = self.self_attn(placed, placed, instances, need_weights=False)
        normed: Tensor = self.norm2(instances + self.dropout(attended))
        return normed

    def _boxes_among_themselves(self, boxes: Tensor, position: Tensor) -> Tensor:
        flat = boxes.flatten(0, 1)
        placed = flat + position
        attended, _ = self.self_attn_box(placed, placed, flat, need_weights=False)
        normed: Tensor = self.norm2_box(flat + self.dropout(attended))
        return normed.view_as(boxes)

    def _looked(
        self, query: Tensor, references: Tensor, memory: Tensor, grid: Grid
    ) -> tuple[Tensor, Tensor]:
        clips, frames = memory.shape[:2]
        of_frames = grid.repeated(frames)
        scale = of_frames.ratios.repeat(1, 1, references.shape[-1] // 2)
        of_levels = references.flatten(0, 1)[:, :, None] * scale[:, None]
        query = query.expand(-1, frames, -1, -1).flatten(0, 1)
        both = self.cross_attn.both(
            query, of_levels, memory.flatten(0, 1), grid.sizes, of_frames.padding
        )
        for_instances, for_boxes = (each.unflatten(0, (clips, frames)) for each in both)
        return for_instances, for_boxes


class Decoder(nn.Module):
    """The layers, and what is predicted after each."""

    def __init__(self, config: MSTSConfig) -> None:
        """Create them with the queries."""
        super().__init__()
        channels, count = config.channels, config.decoder_layers
        self.query_embed = nn.Embedding(config.queries, 2 * channels)
        self.reference_points = nn.Linear(channels, 2)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(count))
        self.class_embed = nn.ModuleList(
            nn.Linear(channels, config.logits) for _ in range(count)
        )
        self.bbox_embed = nn.ModuleList(Perceptron(channels, 4) for _ in range(count))

    def forward(self, memory: Tensor, grid: Grid) -> list[LayerOutput]:
        """Return what each layer says of clips; memory: [B, T, S, channels]."""
        clips, frames = memory.shape[:2]
        position, content = self.query_embed.weight.chunk(2, 1)
        references = self.reference_points(position).float().sigmoid()
        references = references.expand(clips, frames, -1, -1)
        instances = content.expand(clips, -1, -1)
        boxes = instances[:, None]
        outputs = []
        for layer, classify, refine in zip(
            self.layers, self.class_embed, self.bbox_embed, strict=True
        ):
            instances, boxes, time_weights = layer(
                instances, boxes, position, references, memory, grid
            )
            refined = moved(references, refine(boxes).float())
            outputs.append(LayerOutput(
                instances, classify(instances).float(), refined, references[..., :2], time_weights
            ))
            references = refined.detach()
        return outputs


def moved(references: Tensor, change: Tensor) -> Tensor:
    """Return references [..., 2 or 4] changed [..., 4]; where one has no size, it starts here."""
    known = references.shape[-1]
    before = inverse_sigmoid(references)
    return torch.cat((change[..., :known] + before, change[..., known:]), -1).sigmoid()


def inverse_sigmoid(x: Tensor) -> Tensor:
    """Return the logits of probabilities, at most about 11.5 large."""
    x = x.clamp(0, 1)
    return (x.clamp(min=1e-5) / (1 - x).clamp(min=1e-5)).log()
