"""The CPU's deformable convolution, in parts and of several maps at once, is torchvision's."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torchvision.ops import deform_conv2d

from stmask_ros.layers.deformable import (
    CELLS_AT_A_TIME,
    by_cell,
    deformable_convolution,
    deformable_convolution_of_levels,
)

BATCH, CHANNELS, OUT = 2, 8, 6


def normal(seed: int, *shape: int) -> Tensor:
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return values.requires_grad_()


def check_gradients(ours: Tensor, plain: Tensor, inputs: Sequence[Tensor]) -> None:
    direction = normal(9, *plain.shape).detach()
    gradients = [torch.autograd.grad((out * direction).sum(), inputs) for out in (ours, plain)]
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('modulated', [False, True])
@pytest.mark.parametrize('kernel', [(3, 3), (3, 5)])
def test_maps_of_many_cells(kernel: tuple[int, int], modulated: bool) -> None:
    height, width = 30, 41
    assert BATCH * height * width > 2 * CELLS_AT_A_TIME
    taps, padding = kernel[0] * kernel[1], (kernel[0] // 2, kernel[1] // 2)
    x = normal(1, BATCH, CHANNELS, height, width)
    offset = normal(2, BATCH, 2 * taps, height, width)
    weight, bias = normal(3, OUT, CHANNELS, *kernel), normal(4, OUT)
    modulation = normal(5, BATCH, taps, height, width) if modulated else None
    ours = deformable_convolution(x, 3 * offset, weight, bias, 1, padding, modulation)
    plain = deform_conv2d(x, 3 * offset, weight, bias, 1, padding, mask=modulation)
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-4)
    inputs = (x, offset, weight, bias)
    check_gradients(ours, plain, inputs if modulation is None else (*inputs, modulation))


def test_levels_are_convolved_each_by_itself() -> None:
    """A tap that leaves its level finds zeros, not another level's or image's cells."""
    sizes = ((7, 12), (4, 6), (2, 3), (1, 2))
    levels = [normal(n, BATCH, CHANNELS, *size) for n, size in enumerate(sizes)]
    offsets = [normal(10 + n, BATCH, 2 * 15, *size) for n, size in enumerate(sizes)]
    weight = normal(20, OUT, CHANNELS, 3, 5)
    ours = deformable_convolution_of_levels(levels, 3 * by_cell(offsets), weight, (1, 2))
    plain = [
        deform_conv2d(level, 3 * offset, weight, padding=(1, 2))
        for level, offset in zip(levels, offsets, strict=True)
    ]
    for mine, theirs in zip(ours, plain, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-4)
    check_gradients(by_cell(ours), by_cell(plain), (*levels, *offsets, weight))
