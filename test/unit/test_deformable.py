"""The deformable convolution of the CPU, taken in parts, is torchvision's."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import deform_conv2d

from stmask_ros.network.deformable import CELLS_AT_A_TIME, deformable_convolution

CHANNELS, OUT = 8, 6


@pytest.mark.parametrize('modulated', [False, True])
@pytest.mark.parametrize('kernel', [(3, 3), (3, 5)])
def test_maps_of_many_cells(kernel: tuple[int, int], modulated: bool) -> None:
    batch, height, width = 2, 30, 41
    assert batch * height * width > 2 * CELLS_AT_A_TIME
    taps, padding = kernel[0] * kernel[1], (kernel[0] // 2, kernel[1] // 2)
    generator = torch.Generator().manual_seed(taps)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float32)

    inputs = [
        normal(batch, CHANNELS, height, width), 3 * normal(batch, 2 * taps, height, width),
        normal(OUT, CHANNELS, *kernel), normal(OUT),
    ]
    if modulated:
        inputs.append(normal(batch, taps, height, width).sigmoid())
    for each in inputs:
        each.requires_grad_()
    x, offset, weight, bias, *factors = inputs
    modulation = factors[0] if modulated else None

    ours = deformable_convolution(x, offset, weight, bias, 1, padding, modulation)
    plain = deform_conv2d(x, offset, weight, bias, 1, padding, mask=modulation)
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-5)

    direction = normal(*plain.shape)
    for mine, theirs in zip(
        torch.autograd.grad((ours * direction).sum(), inputs),
        torch.autograd.grad((plain * direction).sum(), inputs), strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)
