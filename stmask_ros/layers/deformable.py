# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Deformable convolution, with a path for the CPU and half precision that is not scalar."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmask_ros.layers.sampling import Samples, Taps, compiled_samples
from stmask_ros.layers.vision_operators import deform_conv2d

# Cells whose samples are taken and multiplied at a time on a CPU: they stay in its cache.
CELLS_AT_A_TIME = 1024

Size = tuple[int, int]


def deformable_convolution(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int = 1,
    padding: Size = (0, 0),
    modulation: Tensor | None = None,
    groups: int = 1,
) -> Tensor:
    """
    Convolve x [B, C, H, W] at displaced taps; the semantics of torchvision.ops.deform_conv2d.

    offset: [B, groups * 2 * taps, H', W'], group by group, (dy, dx) interleaved per tap, taps row
    by row [cells]. weight: [out, C, kernel height, kernel width]. groups: of C, each of which has
    offsets of its own; with several, neither bias nor modulation.
    modulation: [B, taps, H', W'] factors of the taps, or None.
    Returns [B, out, H', W'].
    """
    if _has_a_kernel(x):
        return deform_conv2d(x, offset, weight, bias, stride, padding, modulation)
    if groups > 1:
        parts = (part.chunk(groups, 1) for part in (x, offset, weight))
        return torch.stack([
            deformable_convolution(of_x, of_offset, of_weight, None, stride, padding)
            for of_x, of_offset, of_weight in zip(*parts, strict=True)
        ]).sum(0)
    size = (offset.shape[2], offset.shape[3])
    factor = None if modulation is None else by_cell([modulation])
    (out,) = _gather_and_multiply(
        [x], [size], by_cell([offset]), weight, bias, stride, padding, factor
    )
    return out


def deformable_convolution_of_levels(
    levels: Sequence[Tensor], offset: Tensor, weight: Tensor, padding: Size
) -> list[Tensor]:
    """
    Convolve maps [B, C, H, W] at displaced taps with one kernel, as deformable_convolution each.

    All levels of a pyramid at once: of a small one, the call costs more than the work.
    offset: [B, cells of all levels, 2 * taps], in the order of by_cell [cells].
    weight: [out, C, kernel height, kernel width]. padding: half of the kernel [cells].
    Returns [B, out, H, W] of each level.
    """
    sizes = [(level.shape[2], level.shape[3]) for level in levels]
    if _has_a_kernel(levels[0]):
        return [
            deform_conv2d(level, part, weight, None, 1, padding, None)
            for level, part in zip(levels, by_level(offset, sizes), strict=True)
        ]
    return _gather_and_multiply(levels, sizes, offset, weight, None, 1, padding, None)


def by_cell(levels: Sequence[Tensor]) -> Tensor:
    """Return the cells [B, N, C] of maps [B, C, H, W], level by level and row by row."""
    cells = [level.permute(0, 2, 3, 1).flatten(1, 2) for level in levels]
    return cells[0] if len(cells) == 1 else torch.cat(cells, 1)


def by_level(cells: Tensor, sizes: Sequence[Size]) -> list[Tensor]:
    """Return the maps [B, C, H, W], of these (height, width), that cells [B, N, C] are of."""
    parts = cells.split([height * width for height, width in sizes], 1)
    return [
        part.unflatten(1, size).permute(0, 3, 1, 2)
        for part, size in zip(parts, sizes, strict=True)
    ]


def deformable_convolution_by_grid(
    x: Tensor, weight: Tensor, offset: Tensor, modulation: Tensor, bias: Tensor,
    stride_y: int, stride_x: int, padding_y: int, padding_x: int, dilation_y: int, dilation_x: int,
    groups: int, offset_groups: int, modulated: bool,
) -> Tensor:
    """
    Convolve as torchvision's operator does, whose arguments these are, by grid samples.

    For engines that have no deformable convolution. One group of weights, no dilation.
    """
    assert (dilation_y, dilation_x, groups) == (1, 1, 1)
    batch, _, height, width = x.shape
    out, _, kernel_y, kernel_x = weight.shape
    rows, columns = offset.shape[2:]
    tap = torch.arange(kernel_y * kernel_x, device=x.device)
    row = torch.arange(rows, device=x.device)[:, None] * stride_y - padding_y
    column = torch.arange(columns, device=x.device) * stride_x - padding_x
    displacement = offset.view(batch * offset_groups, -1, 2, rows, columns)
    y = displacement[:, :, 0] + (row + (tap // kernel_x)[:, None, None])
    x_position = displacement[:, :, 1] + (column + (tap % kernel_x)[:, None, None])
    # In fractions from -1 to 1, of the edges of the outermost cells.
    grid = torch.stack(((2 * x_position + 1) / width - 1, (2 * y + 1) / height - 1), -1)
    maps = x.view(batch * offset_groups, -1, height, width)
    samples = F.grid_sample(maps, grid.flatten(1, 2), align_corners=False)
    if modulated:
        samples = samples * modulation.view(batch * offset_groups, 1, -1, columns)
    kernel = weight.view(out, -1, 1, 1)
    return F.conv2d(samples.view(batch, -1, rows, columns), kernel, bias)


def _has_a_kernel(x: Tensor) -> bool:
    # torchvision computes positions in the precision of x: too coarse in a half. Engines read its
    # operator out of an exported program.
    return torch.compiler.is_exporting() or (x.is_cuda and x.dtype == torch.float32)


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # what is kept must serve training as well
def taps_of(
    shapes: tuple[Size, ...], sizes: tuple[Size, ...], kernel: Size, stride: int, padding: Size,
    device: torch.device,
) -> Taps:
    """Return the taps of a convolution of maps of these shapes into maps of these sizes."""
    tap = torch.arange(kernel[0] * kernel[1])
    ys, xs, own, first = [], [], [], 0
    for (height, width), (rows, columns) in zip(shapes, sizes, strict=True):
        row = torch.arange(rows).repeat_interleave(columns)[:, None]
        column = torch.arange(columns).repeat(rows)[:, None]
        ys.append(row * stride - padding[0] + tap // kernel[1])
        xs.append(column * stride - padding[1] + tap % kernel[1])
        own.append(torch.tensor((height, width, first)).expand(rows * columns, 3))
        first += height * width
    y, x, known = (torch.cat(parts).float().to(device) for parts in (ys, xs, own))
    height, width, start = known.t().contiguous().unsqueeze(2)
    return Taps(y, x, height, width, start.int())


def _gather_and_multiply(
    maps: Sequence[Tensor], sizes: Sequence[Size], offset: Tensor, weight: Tensor,
    bias: Tensor | None, stride: int, padding: Size, modulation: Tensor | None,
) -> list[Tensor]:
    # offset: [B, N, 2 * taps], modulation: [B, N, taps] -> maps of these sizes.
    # A bilinear sample is a weighted sum of four rows of the [cells, C] maps: an embedding bag,
    # vectorised over C. The convolution is then a matrix product.
    shapes = tuple((x.shape[2], x.shape[3]) for x in maps)
    kernel = (weight.shape[2], weight.shape[3])
    taps = taps_of(shapes, tuple(sizes), kernel, stride, padding, weight.device)
    table = by_cell(maps)
    batch, cells = offset.shape[:2]
    samples = compiled_samples(table, offset, modulation, taps)
    if samples is None:
        samples = _gathered(table, offset, modulation, taps)
    out = _multiply(samples, batch * cells, weight, bias)
    return by_level(out.unflatten(0, (batch, cells)), sizes)


def _multiply(samples: Samples, rows: int, weight: Tensor, bias: Tensor | None) -> Tensor:
    # So many rows of samples by the weights -> [rows, out].
    kernel = weight.permute(0, 2, 3, 1).flatten(1)
    if weight.device.type != 'cpu':
        return F.linear(samples(0, rows), kernel, bias)
    firsts = range(0, rows, CELLS_AT_A_TIME)
    return torch.cat([
        _linear(samples(first, min(first + CELLS_AT_A_TIME, rows)), kernel, bias)
        for first in firsts
    ])


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    # F.linear of [N, in] as a 1x1 convolution of a map N high, channels last: faster on a CPU.
    column = x[None, :, None].permute(0, 3, 1, 2)
    kernel = weight[:, None, None].permute(0, 3, 1, 2)
    return F.conv2d(column, kernel, bias)[0, :, :, 0].t()


def _gathered(
    table: Tensor, offset: Tensor, modulation: Tensor | None, taps: Taps
) -> Samples:
    # As compiled_samples(), by PyTorch's operators: on any device, with gradients.
    dy, dx = offset.float().unflatten(2, (-1, 2)).unbind(3)
    index, weight = _corners(dy + taps.y, dx + taps.x, modulation, taps)
    batch, cells = table.shape[:2]
    image = torch.arange(batch, device=table.device, dtype=index.dtype)
    index = (index + (image * cells).view(-1, 1, 1, 1)).flatten(0, 1)
    weight = weight.flatten(0, 1).to(table.dtype)
    rows = table.flatten(0, 1)

    def samples(begin: int, end: int) -> Tensor:
        part = slice(begin, end)
        return F.embedding_bag(
            index[part].flatten(0, 1), rows, mode='sum',
            per_sample_weights=weight[part].flatten(0, 1),
        ).view(end - begin, -1)

    return samples


def _corners(
    y: Tensor, x: Tensor, factor: Tensor | None, taps: Taps
) -> tuple[Tensor, Tensor]:
    # Rows of the table and bilinear weights of the four corners [B, N, taps, 4]; weight 0 outside.
    (top, above), (bottom, below) = _neighbours(y, taps.height)
    (left, before), (right, after) = _neighbours(x, taps.width)
    if factor is not None:
        above, below = above * factor, below * factor
    width = taps.width.int()
    top, bottom = top * width + taps.first, bottom * width + taps.first
    corners = torch.stack((top + left, top + right, bottom + left, bottom + right), -1)
    weights = torch.stack((above * before, above * after, below * before, below * after), -1)
    return corners, weights


def _neighbours(position: Tensor, size: Tensor) -> list[tuple[Tensor, Tensor]]:
    # The cells on both sides of each position of one axis, int32, and their linear weights.
    cell = position.floor()
    fraction = position - cell
    neighbours = []
    for side, weight in ((cell, 1 - fraction), (cell + 1, fraction)):
        # Clamped before the cast: the integer of a huge or undefined position is not defined.
        clamped = side.nan_to_num(-1).clamp(min=0).minimum(size - 1)
        neighbours.append((clamped.int(), weight.masked_fill(clamped != side, 0)))
    return neighbours


class ModulatedDeformableConv2d(nn.Module):
    """
    A 3x3 deformable convolution that predicts its own offsets and modulation (DCNv2).

    Specification, section 3. [B, C, H, W] -> [B, out, H / stride, W / stride].
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        """Create the layer; its offsets start at zero and its modulation at one half."""
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.conv_offset_mask = nn.Conv2d(in_channels, 27, 3, stride, 1)
        nn.init.kaiming_uniform_(self.weight, nonlinearity='relu')
        for parameter in self.conv_offset_mask.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve."""
        offset, logits = self.conv_offset_mask(x).split((18, 9), dim=1)
        return deformable_convolution(
            x, offset, self.weight, self.bias, self.stride, (1, 1), logits.sigmoid()
        )
