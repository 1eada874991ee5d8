"""
Winograd's 3x3 convolution: four times fewer multiplications, rounded somewhat more coarsely.

Lavin and Gray, Fast Algorithms for Convolutional Neural Networks (2016), F(4x4, 3x3): tiles of
6x6 cells are transformed, multiplied channel by channel, and transformed back into 4x4 cells.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

INPUT = (
    (4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0), (0, 4, 0, -5, 0, 1),
)
KERNEL = (
    (1 / 4, 0, 0), (-1 / 6, -1 / 6, -1 / 6), (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6), (1 / 24, -1 / 12, 1 / 6), (0, 0, 1),
)
OUTPUT = (
    (1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1)
)
# Rows of tiles at a time: what they expand to stays in the cache.
TILE_ROWS = 4


class WinogradConv2d(nn.Module):
    """A convolution 3x3 of stride 1 and padding 1, for inference; within about 1e-5 of it."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        """Transform the kernel, in double precision."""
        super().__init__()
        assert (convolution.kernel_size, convolution.stride) == ((3, 3), (1, 1))
        assert convolution.bias is not None
        kernel = convolution.weight.detach().double().flatten(2) @ _square(KERNEL).t()
        self.weight = nn.Parameter(kernel.permute(2, 1, 0).float().contiguous(), False)
        self.bias = nn.Parameter(convolution.bias.detach(), False)
        self.input = nn.Parameter(_square(INPUT).float(), False)
        self.output = nn.Parameter(_square(OUTPUT).float(), False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, out, H, W], channels last."""
        batch, _, height, width = x.shape
        rows, columns = -(-height // 4), -(-width // 4)
        padded = F.pad(x, (1, 4 * columns + 1 - width, 1, 4 * rows + 1 - height))
        padded = padded.permute(0, 2, 3, 1)
        out = x.new_empty(batch, 4 * rows, 4 * columns, self.weight.shape[2])
        for row in range(0, 4 * rows, 4 * TILE_ROWS):
            stop = min(row + 4 * TILE_ROWS, 4 * rows)
            out[:, row:stop] = self._tiles(padded[:, row:stop + 2])
        return out[:, :height, :width].permute(0, 3, 1, 2)

    def _tiles(self, x: Tensor) -> Tensor:
        # [B, 4 * rows + 2, 4 * columns + 2, C] -> [B, 4 * rows, 4 * columns, out]
        tiles = x.unfold(1, 6, 4).unfold(2, 6, 4).permute(4, 5, 0, 1, 2, 3)
        _, _, batch, rows, columns, channels = tiles.shape
        transformed = (self.input @ tiles.reshape(36, -1)).view(36, -1, channels)
        products = torch.bmm(transformed, self.weight)
        cells = (self.output @ products.view(36, -1)).view(4, 4, batch, rows, columns, -1)
        cells = cells.permute(2, 3, 0, 4, 1, 5).reshape(batch, 4 * rows, 4 * columns, -1)
        return cells + self.bias


def _square(matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    # The transform of both axes of a tile at once, whose cells are in one row.
    one_axis = torch.tensor(matrix, dtype=torch.float64)
    return torch.kron(one_axis, one_axis)
