# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Multi-scale deformable attention (specification, section 4), in plain PyTorch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmask_ros.families.msts.config import MSTSConfig

Size = tuple[int, int]

LEVELS = 4


def sample(
    value: Tensor, sizes: Sequence[Size], x: Tensor, y: Tensor, weights: Tensor
) -> Tensor:
    """
    Return weighted sums of bilinear samples, [N, Q, heads * channels].

    value: [N, tokens, heads, channels], the levels one after the other, each by rows. sizes:
    height and width of each. x, y, weights: of the samples, [N, Q, heads, levels, points]; x and
    y in fractions of the level. Outside of it, zeros are sampled.
    """
    # In ONNX an embedding bag is a loop.
    if torch.is_grad_enabled() or torch.compiler.is_exporting():
        return sample_maps(value, sizes, x, y, weights)
    return sample_rows(value, sizes, x, y, weights)


def sample_maps(
    value: Tensor, sizes: Sequence[Size], x: Tensor, y: Tensor, weights: Tensor
) -> Tensor:
    """Return sample(): a head of a frame is a map of each level. Its gradient is the faster."""
    frames, _, heads, channels = value.shape
    queries = x.shape[1]
    places = (2 * torch.stack((x, y), -1) - 1).transpose(1, 2).flatten(0, 1)
    levels = value.split([height * width for height, width in sizes], 1)
    samples = [
        F.grid_sample(
            level.permute(0, 2, 3, 1).reshape(frames * heads, channels, *size).to(place.dtype),
            place, align_corners=False,
        )
        for level, size, place in zip(levels, sizes, places.unbind(2), strict=True)
    ]
    shares = weights.transpose(1, 2).reshape(frames * heads, 1, queries, -1)
    sums = (torch.cat(samples, -1) * shares).sum(-1)
    return sums.view(frames, heads * channels, queries).mT.to(value.dtype)


def sample_rows(
    value: Tensor, sizes: Sequence[Size], x: Tensor, y: Tensor, weights: Tensor
) -> Tensor:
    """
    Return sample(): the four corners of all samples are one weighted sum of rows.

    PyTorch fuses it on every device; each row is a head's channels of a token, contiguous in
    memory: in inference, a fifth of the time of sample_maps().
    """
    frames, tokens, heads, channels = value.shape
    extents = torch.tensor(sizes, dtype=torch.int32, device=value.device)[..., None]
    height, width = extents.unbind(1)
    start = torch.cumsum(height * width, 0) - height * width
    columns, column_shares = _neighbours(x, width)
    rows, row_shares = _neighbours(y, height)
    first = _first_rows(frames, tokens, heads, value.device) + start * heads
    lines = [first + row * (width * heads) for row in rows]
    places = torch.stack([line + column * heads for line in lines for column in columns], 3)
    shares = torch.stack([
        row * column for row in [share * weights for share in row_shares]
        for column in column_shares
    ], 3)
    bags = frames * x.shape[1] * heads
    sums = F.embedding_bag(
        places.view(bags, -1), value.reshape(-1, channels), mode='sum',
        per_sample_weights=shares.to(value.dtype).view(bags, -1),
    )
    return sums.view(frames, -1, heads * channels)


def _neighbours(place: Tensor, size: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    # The cells before and after a place on an axis, and their shares; none outside of the level.
    place = place * size - 0.5
    first = place.detach().floor()
    share = place - first
    before = first.int()
    cells, shares = [], []
    for cell, its in ((before, 1 - share), (before + 1, share)):
        inside = cell.clamp(min=0).minimum(size - 1)
        cells.append(inside)
        shares.append(its * (cell == inside))
    return cells, shares


def _first_rows(frames: int, tokens: int, heads: int, device: torch.device) -> Tensor:
    # The row of each head in the first token of each frame, int32 [frames, 1, heads, 1, 1].
    frame = torch.arange(frames, dtype=torch.int32, device=device) * (tokens * heads)
    head = torch.arange(heads, dtype=torch.int32, device=device)
    return (frame[:, None] + head)[:, None, :, None, None]


class DeformableAttention(nn.Module):
    """Queries that look at a few places of each level of their frame."""

    def __init__(self, config: MSTSConfig) -> None:
        """Create the projections; what is sampled is projected by output_proj."""
        super().__init__()
        self.heads, self.points = config.heads, config.points
        samples = config.heads * LEVELS * config.points
        self.sampling_offsets = nn.Linear(config.channels, 2 * samples)
        self.attention_weights = nn.Linear(config.channels, samples)
        self.value_proj = nn.Linear(config.channels, config.channels)
        self.output_proj = nn.Linear(config.channels, config.channels)

    def forward(
        self, query: Tensor, references: Tensor, source: Tensor, sizes: Sequence[Size],
        padding: Tensor | None = None,
    ) -> Tensor:
        """Return sampled(), projected, [N, Q, channels]."""
        sampled = self.sampled(query, references, source, sizes, padding)
        projected: Tensor = self.output_proj(sampled)
        return projected

    def sampled(
        self, query: Tensor, references: Tensor, source: Tensor, sizes: Sequence[Size],
        padding: Tensor | None = None,
    ) -> Tensor:
        """
        Return what each query sees, [N, Q, channels].

        query: [N, Q, channels], with its position. references: [N, Q, levels, 2] as (x, y), or 4
        as (x, y, width, height), fractions of the padded levels. source: [N, tokens, channels].
        padding: bool [N, tokens], tokens that are zeros.
        """
        value = self.value_proj(source)
        if padding is not None:
            value = value.masked_fill(padding.unsqueeze(-1), 0)
        shape = (*query.shape[:2], self.heads, LEVELS, self.points)
        offsets = self.sampling_offsets(query).view(*shape, 2)
        weights = self.attention_weights(query).view(*shape[:3], -1).softmax(-1).view(shape)
        # Places need more digits than half precision has.
        x, y = self._places(offsets.to(references.dtype), references, sizes)
        return sample(value.unflatten(-1, (self.heads, -1)), sizes, x, y, weights)

    def _places(
        self, offsets: Tensor, references: Tensor, sizes: Sequence[Size]
    ) -> tuple[Tensor, Tensor]:
        # x and y of the samples, [N, Q, heads, levels, points]. One axis after the other: an
        # innermost dimension of two would make these the slowest operations of a layer.
        references = references[:, :, None, :, None]
        places = []
        for axis in (0, 1):
            if references.shape[-1] == 2:
                unit = offsets.new_tensor([1 / size[1 - axis] for size in sizes])[:, None]
            else:
                unit = references[..., 2 + axis] * (0.5 / self.points)
            places.append(references[..., axis] + offsets[..., axis] * unit)
        return places[0], places[1]

    def initialise(self) -> None:
        """Set the initial values (section 9): the heads look in eight directions."""
        nn.init.zeros_(self.sampling_offsets.weight)
        angles = torch.arange(self.heads, dtype=torch.float32) * (2 * math.pi / self.heads)
        directions = torch.stack((angles.cos(), angles.sin()), -1)
        directions = directions / directions.abs().amax(-1, keepdim=True)
        steps = torch.arange(1, self.points + 1, dtype=torch.float32)
        bias = directions[:, None, None] * steps[:, None]
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(bias.expand(-1, LEVELS, -1, -1).flatten())
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)


class InstanceAttention(DeformableAttention):
    """
    Attention of a decoder layer: box queries look, instance and box streams get what they see.

    Its sampled sum goes through one projection for each.
    """

    def __init__(self, config: MSTSConfig) -> None:
        """Create the projections."""
        super().__init__(config)
        self.output_proj_box = nn.Linear(config.channels, config.channels)

    def both(
        self, query: Tensor, references: Tensor, source: Tensor, sizes: Sequence[Size],
        padding: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return sampled(), projected for instances and for boxes, each [N, Q, channels]."""
        sampled = self.sampled(query, references, source, sizes, padding)
        return self.output_proj(sampled), self.output_proj_box(sampled)
