# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Winograd's 3x3 convolution: a quarter of the multiplications.

Lavin and Gray, Fast Algorithms for Convolutional Neural Networks (2016), F(4x4, 3x3): tiles of
6x6 cells are transformed, multiplied channel by channel, and transformed back into 4x4 cells.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Where the polynomials behind the transforms are evaluated, infinity besides. The usual 1, -1, 2,
# -2 round five times as coarsely as a direct convolution; these do so no more than it.
POINTS = (0.0, 0.5**0.5, -(0.5**0.5), 2**0.5, -(2**0.5))
# Tiles at a time, whole rows of them: few enough that what they expand to stays in the cache, and
# enough that their matrix products are worth reading the kernel for.
TILES_AT_A_TIME = 120

Matrix = npt.NDArray[np.float64]


class WinogradConv2d(nn.Module):
    """A convolution 3x3 of stride 1 and padding 1, for inference."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        """Transform the kernel, in double precision."""
        super().__init__()
        assert (convolution.kernel_size, convolution.stride) == ((3, 3), (1, 1))
        assert convolution.bias is not None
        kernel, into_tiles, out_of_tiles = map(torch.from_numpy, _transforms())
        weight = convolution.weight.detach().double().permute(2, 3, 1, 0)
        transformed = _both_axes(kernel, weight.flatten(2)).view(36, *weight.shape[2:])
        self.weight = nn.Parameter(transformed.float(), False)
        self.bias = nn.Parameter(convolution.bias.detach(), False)
        self.input = nn.Parameter(into_tiles.float(), False)
        self.output = nn.Parameter(out_of_tiles.float(), False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, out, H, W], channels last."""
        batch, _, height, width = x.shape
        rows, columns = -(-height // 4), -(-width // 4)
        out = x.new_empty(batch, 4 * rows, 4 * columns, self.weight.shape[2])
        step = 4 * max(1, TILES_AT_A_TIME // max(1, batch * columns))
        for row in range(0, 4 * rows, step):
            stop = min(row + step, 4 * rows)
            first, last = max(row - 1, 0), min(stop + 1, height)
            around = (1, 4 * columns + 1 - width, first - row + 1, stop + 1 - last)
            padded = F.pad(x[:, :, first:last], around).permute(0, 2, 3, 1)
            self._convolve(padded, out[:, row:stop])
        return out[:, :height, :width].permute(0, 3, 1, 2)

    def _convolve(self, x: Tensor, out: Tensor) -> None:
        # [B, 4 * rows + 2, 4 * columns + 2, C] into [B, 4 * rows, 4 * columns, out]
        tiles = x.unfold(1, 6, 4).unfold(2, 6, 4).permute(4, 5, 0, 1, 2, 3)
        _, _, _, rows, columns, channels = tiles.shape
        transformed = _both_axes(self.input, tiles.reshape(6, 6, -1)).view(36, -1, channels)
        products = torch.bmm(transformed, self.weight).view(6, 6, -1)
        places = out.unflatten(2, (columns, 4)).unflatten(1, (rows, 4)).permute(2, 4, 0, 1, 3, 5)
        cells = _both_axes(self.output, products).view(places.shape)
        torch.add(cells, self.bias, out=places)


def _transforms() -> tuple[Matrix, Matrix, Matrix]:
    # Toom and Cook's: [6, 3] of the kernel, [6, 6] of the input, [4, 6] of the output.
    points = np.array(POINTS)
    others = [np.delete(points, i) for i in range(len(points))]
    scale = np.array([np.prod(p - rest) for p, rest in zip(points, others, strict=True)])
    kernel = np.vstack((np.vander(points, 3, increasing=True) / scale[:, None], np.eye(3)[-1]))
    polynomials = [np.append(np.poly(rest)[::-1], 0) for rest in others]
    inputs = np.vstack((*polynomials, np.poly(points)[::-1]))
    output = np.column_stack((np.vander(points, 4, increasing=True).T, np.eye(4)[-1]))
    return kernel, inputs, output


def _both_axes(matrix: Tensor, tiles: Tensor) -> Tensor:
    # A transform [m, n] of both axes of tiles [n, n, N] -> [m, m, N]: of the first one, twice.
    for _ in range(2):
        tiles = torch.bmm(matrix.expand(tiles.shape[1], -1, -1), tiles.transpose(0, 1))
    return tiles
