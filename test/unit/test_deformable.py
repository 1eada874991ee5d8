# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The CPU's deformable convolution, in parts and of several maps at once, is torchvision's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
import torch
from torch import Tensor
from torchvision.ops import deform_conv2d

from stmask_ros.layers import deformable, sampling
from stmask_ros.layers.deformable import (
    CELLS_AT_A_TIME,
    by_cell,
    deformable_convolution,
    deformable_convolution_by_grid,
    deformable_convolution_of_levels,
    taps_of,
)

BATCH, CHANNELS, OUT = 2, 8, 6


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


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


@pytest.mark.usefixtures('threads')
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('modulated', [False, True])
@pytest.mark.parametrize('batch', [1, 3])
def test_compiled_samples_are_those_of_python(
    dtype: torch.dtype, modulated: bool, batch: int
) -> None:
    assert sampling.library() is not None, 'src/sample_taps.cpp is not built: make setup'
    shapes, sizes, channels = ((23, 40), (5, 9)), ((12, 20), (3, 5)), 200
    taps = taps_of(shapes, sizes, (3, 3), 2, (1, 1), torch.device('cpu'))
    with torch.inference_mode():
        levels = [normal(n, batch, channels, *size).to(dtype) for n, size in enumerate(shapes)]
        table, cells = by_cell(levels), len(taps.first)
        offset = 4 * normal(5, batch, cells, 2 * 9)
        offset[:, ::50] = offset[:, ::50].round()
        offset[:, 3, :5] = torch.tensor([torch.nan, torch.inf, -torch.inf, 1e30, -1e30])
        factor = normal(6, batch, cells, 9).sigmoid() if modulated else None
        compiled = sampling.compiled_samples(table, offset, factor, taps)
        assert compiled is not None
        rows = batch * cells
        ours = torch.cat([compiled(0, 7), compiled(7, rows)])
        plain = deformable._gathered(table.float(), offset, factor, taps)(0, rows)
        assert not ours.isnan().any()
        # Of bfloat16 the sums are rounded once, to 8 bits.
        tolerance = 1e-5 if dtype == torch.float32 else 2**-8
        torch.testing.assert_close(ours.float(), plain, rtol=tolerance, atol=1e-5)


@pytest.mark.parametrize('modulated', [False, True])
def test_grid_samples_are_those_of_torchvision(modulated: bool) -> None:
    x, weight = normal(1, BATCH, CHANNELS, 9, 14), normal(2, OUT, CHANNELS, 3, 5)
    bias = normal(3, OUT)
    offset, factor = 3 * normal(4, BATCH, 30, 5, 7), normal(5, BATCH, 15, 5, 7)
    ours = deformable_convolution_by_grid(
        x, weight, offset, factor, bias, 2, 2, 1, 2, 1, 1, 1, 1, modulated
    )
    plain = deform_conv2d(
        x, offset, weight, bias, 2, (1, 2), mask=factor if modulated else None
    )
    torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-4)


def test_compiled_samples_are_taken_without_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_to_be_called(*_arguments: object) -> None:
        raise AssertionError('in Python')

    monkeypatch.setattr(deformable, '_gathered', not_to_be_called)
    x, offset, weight = normal(1, 1, 8, 6, 6), normal(2, 1, 18, 6, 6), normal(3, 8, 8, 3, 3)
    with torch.inference_mode():
        deformable_convolution(x, offset, weight, padding=(1, 1))
    with pytest.raises(AssertionError, match='in Python'):
        deformable_convolution(x, offset, weight, padding=(1, 1))


def test_a_value_that_is_no_number_stays_one() -> None:
    with torch.inference_mode():
        x = torch.full((1, 8, 4, 4), torch.nan, dtype=torch.bfloat16)
        weight = torch.ones(8, 8, 3, 3, dtype=torch.bfloat16)
        out = deformable_convolution(x, torch.zeros(1, 18, 4, 4), weight, padding=(1, 1))
    assert out.isnan().all()
