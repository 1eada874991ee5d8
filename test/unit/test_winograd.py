# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Winograd's convolution is the convolution."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from stmask_ros.layers.winograd import WinogradConv2d


def test_no_maps_give_none() -> None:
    winograd = WinogradConv2d(nn.Conv2d(8, 4, 3, padding=1))
    with torch.inference_mode():
        assert winograd(torch.zeros(0, 8, 7, 7)).shape == (0, 4, 7, 7)


@pytest.mark.parametrize('size', [(48, 80), (7, 7), (3, 5), (1, 1), (33, 18)])
@pytest.mark.parametrize('batch', [1, 3])
def test_equals_the_direct_convolution(size: tuple[int, int], batch: int) -> None:
    generator = torch.Generator().manual_seed(sum(size))
    with torch.random.fork_rng():
        torch.manual_seed(sum(size))
        direct = nn.Conv2d(128, 64, 3, padding=1)
    x = torch.randn(batch, 128, *size, generator=generator).relu()
    with torch.inference_mode():
        exact = direct.double()(x.double())
        winograd = WinogradConv2d(direct.float())(x)
    assert winograd.shape == exact.shape
    error = winograd - exact
    # As coarse as a direct convolution in single precision on large maps.
    assert float(error.square().mean().sqrt()) < 5e-7
    assert float(error.abs().max()) < 5e-6
