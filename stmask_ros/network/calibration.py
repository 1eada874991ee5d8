"""FCB: the last convolution of a branch, taken where the predicted box is (paper, 3.1.2)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmask_ros.network.boxes import RELEASED_VARIANCES
from stmask_ros.network.deformable import deformable_convolution


def aligned_offsets(
    box_deltas: Tensor, kernel: tuple[int, int],
    variances: tuple[float, float] = RELEASED_VARIANCES,
) -> Tensor:
    """
    Return the offsets that move a kernel's grid onto the regressed box (equations 6 to 8).

    box_deltas: [B, 4, H, W], (dx, dy, dw, dh) with the variances still in.
    Returns [B, 2 * taps, H, W], (dy, dx) interleaved per tap [cells].
    """
    height, width = kernel
    dx, dy, dw, dh = box_deltas.unbind(1)
    center, size = variances
    shift_x, shift_y = center * dx * width, center * dy * height
    grow_x, grow_y = (size * dw).exp() - 1, (size * dh).exp() - 1
    tap = torch.arange(height * width, device=box_deltas.device)
    row = (tap // width - height // 2).view(1, -1, 1, 1)
    column = (tap % width - width // 2).view(1, -1, 1, 1)
    offset_y = shift_y.unsqueeze(1) + grow_y.unsqueeze(1) * row
    offset_x = shift_x.unsqueeze(1) + grow_x.unsqueeze(1) * column
    return torch.stack((offset_y, offset_x), 2).flatten(1, 2)


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

    def forward(self, x: Tensor, box_deltas: Tensor) -> Tensor:
        """[B, channels, H, W] and [B, 4, H, W] -> [B, out, H, W]."""
        box_deltas = box_deltas.detach()
        if self.conv_offset is not None:
            offset = self.conv_offset(box_deltas)
        else:
            offset = aligned_offsets(box_deltas, self.kernel, self.variances)
        weight = self.conv_adaption.weight
        adapted = F.relu(deformable_convolution(x, offset, weight, padding=self.padding))
        return adapted if self.conv is None else self.conv(adapted)
