# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""FCB: the last convolution of a branch, taken where the predicted box is (paper, 3.1.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmask_ros.layers.boxes import RELEASED_VARIANCES
from stmask_ros.layers.deformable import by_cell, deformable_convolution_of_levels


def aligned_offsets(
    box_deltas: Tensor, kernel: tuple[int, int],
    variances: tuple[float, float] = RELEASED_VARIANCES,
) -> Tensor:
    """
    Return the offsets that move a kernel's grid onto the regressed box (equations 6 to 8).

    box_deltas: of N cells, [B, N, 4], (dx, dy, dw, dh) with the variances still in.
    Returns [B, N, 2 * taps], (dy, dx) interleaved per tap [cells].
    """
    height, width = kernel
    dx, dy, dw, dh = box_deltas.split(1, 2)
    center, size = variances
    shift_x, shift_y = center * dx * width, center * dy * height
    grow_x, grow_y = (size * dw).exp() - 1, (size * dh).exp() - 1
    tap = torch.arange(height * width, device=box_deltas.device)
    offset_y = shift_y + grow_y * (tap // width - height // 2)
    offset_x = shift_x + grow_x * (tap % width - width // 2)
    return torch.stack((offset_y, offset_x), 3).flatten(2)


class CalibratedConv(nn.Module):
    """
    A deformable convolution over the predicted box, a ReLU, and a plain convolution.

    adaptive: predict the offsets with a 1x1 from the box deltas ('ada', equation 5); otherwise
    derive them ('ali', equation 6). Specification, section 6. layers: with 'one', the deformable
    convolution and its ReLU make the output (specification, section 12).
    """

    def __init__(
        self, channels: int, out: int, kernel: tuple[int, int], adaptive: bool,
        layers: Literal['one', 'two'] = 'two',
        variances: tuple[float, float] = RELEASED_VARIANCES,
    ) -> None:
        """Create the layers; kernel is (height, width), of odd sides."""
        super().__init__()
        self.kernel = kernel
        self.variances = variances
        self.padding = (kernel[0] // 2, kernel[1] // 2)
        self.conv_offset: nn.Conv2d | None = None
        if adaptive:
            self.conv_offset = nn.Conv2d(4, 2 * kernel[0] * kernel[1], 1, bias=False)
        adapted = channels if layers == 'two' else out
        self.conv_adaption = nn.Conv2d(channels, adapted, kernel, bias=False)
        self.conv: nn.Conv2d | None = None
        if layers == 'two':
            self.conv = nn.Conv2d(channels, out, kernel, padding=self.padding)

    def forward(self, levels: Sequence[Tensor], box_deltas: Tensor) -> Tensor:
        """[B, channels, H, W] each, and [B, cells of all, 4] -> [B, cells of all, out]."""
        box_deltas = box_deltas.detach()
        if self.conv_offset is not None:
            offset = F.linear(box_deltas, self.conv_offset.weight.flatten(1))
        else:
            offset = aligned_offsets(box_deltas, self.kernel, self.variances)
        weight = self.conv_adaption.weight
        adapted = [
            F.relu(level)
            for level in deformable_convolution_of_levels(levels, offset, weight, self.padding)
        ]
        return by_cell(adapted if self.conv is None else [self.conv(level) for level in adapted])
