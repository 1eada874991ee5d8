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


def sample(value: Tensor, sizes: Sequence[Size], locations: Tensor, weights: Tensor) -> Tensor:
    """
    Return weighted sums of bilinear samples, [N, Q, heads * channels].

    value: [N, tokens, heads, channels], the levels one after the other, each by rows. sizes:
    height and width of each. locations: (x, y) in fractions of the level, [N, Q, heads, levels,
    points, 2]; outside of the level, zeros are sampled. weights: [N, Q, heads, levels, points].

    The four corners of all samples are one weighted sum of rows, which PyTorch fuses on every
    device and differentiates; each row is a head's channels of a token, contiguous in memory.
    """
    frames, tokens, heads, channels = value.shape
    corners, shares = _corners(sizes, locations)
    head = torch.arange(heads, device=value.device).view(-1, 1, 1, 1)
    frame = torch.arange(frames, device=value.device).view(-1, 1, 1, 1, 1, 1)
    rows = (frame * tokens + corners) * heads + head
    queries = locations.shape[1]
    sums = F.embedding_bag(
        rows.reshape(frames * queries * heads, -1), value.reshape(-1, channels), mode='sum',
        per_sample_weights=(shares * weights.unsqueeze(-1)).reshape(
            frames * queries * heads, -1
        ),
    )
    return sums.view(frames, queries, heads * channels)


def _corners(sizes: Sequence[Size], locations: Tensor) -> tuple[Tensor, Tensor]:
    # Tokens int64 and shares of the four cells around each location, [..., levels, points, 4].
    extent = locations.new_tensor([(width, height) for height, width in sizes])[:, None]
    place = locations * extent - 0.5
    first = place.detach().floor()
    after = place - first
    column, row = (first.unsqueeze(-1) + first.new_tensor((0.0, 1.0))).unbind(-2)
    inside_x = (column >= 0) & (column < extent[..., :1])
    inside_y = (row >= 0) & (row < extent[..., 1:])
    share_x, share_y = torch.stack((1 - after, after), -1).unbind(-2)
    share = (share_y * inside_y).unsqueeze(-1) * (share_x * inside_x).unsqueeze(-2)
    areas = [height * width for height, width in sizes]
    start = extent.new_tensor([sum(areas[:level]) for level in range(len(areas))])[:, None, None]
    column, row = column * inside_x, row * inside_y
    token = start + row * extent[..., :1]
    cells = token.long().unsqueeze(-1) + column.long().unsqueeze(-2)
    return cells.flatten(-2), share.flatten(-2)


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
        references = references[:, :, None, :, None]
        if references.shape[-1] == 2:
            extent = offsets.new_tensor([(width, height) for height, width in sizes])
            locations = references + offsets / extent[:, None]
        else:
            locations = references[..., :2] + (
                offsets / self.points * references[..., 2:] * 0.5
            )
        return sample(value.unflatten(-1, (self.heads, -1)), sizes, locations, weights)

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
