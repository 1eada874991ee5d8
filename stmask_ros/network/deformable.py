"""Deformable convolution, with a path for the CPU and half precision that is not scalar."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

# Cells whose samples are taken and multiplied at a time on a CPU: they stay in its cache.
CELLS_AT_A_TIME = 1024


def deformable_convolution(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int = 1,
    padding: tuple[int, int] = (0, 0),
    modulation: Tensor | None = None,
) -> Tensor:
    """
    Convolve x [B, C, H, W] at displaced taps; the semantics of torchvision.ops.deform_conv2d.

    offset: [B, 2 * taps, H', W'], (dy, dx) interleaved per tap, taps row by row [cells].
    weight: [out, C, kernel height, kernel width].
    modulation: [B, taps, H', W'] factors of the taps, or None.
    Returns [B, out, H', W'].
    """
    # torchvision computes positions in the precision of x: too coarse in a half.
    if x.is_cuda and x.dtype == torch.float32:
        out: Tensor = deform_conv2d(x, offset, weight, bias, stride, padding, mask=modulation)
        return out
    return _gather_and_multiply(x, offset, weight, bias, stride, padding, modulation)


def _gather_and_multiply(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int,
    padding: tuple[int, int],
    modulation: Tensor | None,
) -> Tensor:
    # A bilinear sample is a weighted sum of four rows of the [cells, C] map: an embedding bag,
    # whose kernel is vectorised over C. The convolution is then a matrix product.
    batch, channels, height, width = x.shape
    out_channels, _, kernel_height, kernel_width = weight.shape
    out_height, out_width = offset.shape[-2:]
    taps = kernel_height * kernel_width
    tap = torch.arange(taps, device=x.device)
    row = torch.arange(out_height, device=x.device) * stride - padding[0]
    column = torch.arange(out_width, device=x.device) * stride - padding[1]
    offset = offset.float().view(batch, taps, 2, out_height, out_width).permute(0, 3, 4, 1, 2)
    y = offset[..., 0] + (row[:, None, None] + tap // kernel_width)
    x_position = offset[..., 1] + (column[:, None] + tap % kernel_width)
    factor = None if modulation is None else modulation.permute(0, 2, 3, 1)
    index, corner_weight = _corners(y, x_position, factor, height, width)
    table = x.permute(0, 2, 3, 1).reshape(batch * height * width, channels)
    first = torch.arange(batch, device=x.device, dtype=index.dtype) * (height * width)
    index += first.view(batch, 1, 1, 1, 1)
    corners = (index.view(-1, taps * 4), corner_weight.to(x.dtype).view(-1, taps * 4))
    kernel = weight.permute(0, 2, 3, 1).flatten(1)
    cells = batch * out_height * out_width
    at_a_time = CELLS_AT_A_TIME if x.device.type == 'cpu' else cells
    out = torch.cat([
        F.linear(_sample(table, *some), kernel, bias)
        for some in zip(*(each.split(at_a_time) for each in corners), strict=True)
    ])
    return out.view(batch, out_height, out_width, out_channels).permute(0, 3, 1, 2)


def _sample(table: Tensor, index: Tensor, corner_weight: Tensor) -> Tensor:
    # [N, taps * 4] rows of the table [cells, C] and their weights -> [N, taps * C]
    samples = F.embedding_bag(
        index.view(-1, 4), table, mode='sum', per_sample_weights=corner_weight.view(-1, 4)
    )
    return samples.view(len(index), -1)


def _corners(
    y: Tensor, x: Tensor, factor: Tensor | None, height: int, width: int
) -> tuple[Tensor, Tensor]:
    # Cell indices and bilinear weights of the four corners [..., 4]; weight 0 outside the map.
    (top, above), (bottom, below) = _neighbours(y, height)
    (left, before), (right, after) = _neighbours(x, width)
    if factor is not None:
        above, below = above * factor, below * factor
    top, bottom = top * width, bottom * width
    corners = torch.stack((top + left, top + right, bottom + left, bottom + right), -1)
    weights = torch.stack((above * before, above * after, below * before, below * after), -1)
    return corners, weights


def _neighbours(position: Tensor, size: int) -> list[tuple[Tensor, Tensor]]:
    # The cells on both sides of each position of one axis, int32, and their linear weights.
    cell = position.floor()
    fraction = position - cell
    neighbours = []
    for side, weight in ((cell, 1 - fraction), (cell + 1, fraction)):
        # Clamped before the cast: the integer of a huge or undefined position is not defined.
        clamped = side.nan_to_num(-1).clamp(0, size - 1)
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
