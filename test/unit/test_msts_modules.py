# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The modules that the paper adds: what they are before and after they learn, and their parts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stmask_ros.families.msts.box_attention import BoxAttention
from stmask_ros.families.msts.config import MSTSConfig
from stmask_ros.families.msts.grid import Grid, joined
from stmask_ros.families.msts.position import frame_code
from stmask_ros.families.msts.split_attention import (
    SplitAttention,
    crosses,
    unfolded,
    windows,
)

CONFIG = MSTSConfig(channels=64, heads=4, encoder='msts', box_attention=True)
SIZE = (75, 100)


def grid(height: int = SIZE[0], width: int = SIZE[1]) -> Grid:
    return Grid.unpadded((height, width), CONFIG.channels, torch.device('cpu'))


def tokens(frames: int, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    count = grid().position.shape[1]
    return torch.randn(1, frames, count, CONFIG.channels)


def learnt(module: SplitAttention | BoxAttention) -> SplitAttention | BoxAttention:
    last = module.out if isinstance(module, SplitAttention) else module.proj
    torch.nn.init.normal_(last.weight)
    return module


def test_fresh_modules_add_nothing() -> None:
    assert not SplitAttention(CONFIG)(tokens(3), grid()).any()
    assert not BoxAttention(CONFIG)(torch.randn(1, 3, 5, 64)).any()


@pytest.mark.parametrize('frames', [1, 2, 7])
def test_windows_are_taken_apart_and_put_together(frames: int) -> None:
    level = torch.randn(2, frames, 5, 7, 3)
    parts = windows(level)
    assert parts.shape == (2 * 3 * 4, frames * 4, 3)
    torch.testing.assert_close(unfolded(parts, level, 2), level)
    torch.testing.assert_close(unfolded(windows(level, 1), level, 1), level)
    # Both clips' first window: rows 0 and 1, columns 0 and 1 of all frames.
    torch.testing.assert_close(parts[0], level[0, :, :2, :2].reshape(-1, 3))
    torch.testing.assert_close(parts[12], level[1, :, :2, :2].reshape(-1, 3))


def test_crosses_are_a_cell_and_its_neighbours() -> None:
    level = torch.arange(12.0).view(1, 1, 3, 4, 1)
    assert crosses(level)[5].flatten().tolist() == [5, 1, 9, 4, 6]
    assert crosses(level)[0].flatten().tolist() == [0, 0, 4, 0, 1]


def test_split_attention_relates_frames_and_scales() -> None:
    module, here = learnt(SplitAttention(CONFIG)), grid()
    given = tokens(3).requires_grad_()
    levels = here.levels(module(given, here))
    levels[0][0, 0, 0, 0].sum().backward()
    assert given.grad is not None
    reached = here.levels(given.grad)
    assert reached[0][0, 2].any(), 'other frames'
    assert reached[1][0, 1].any(), 'the next scale'
    assert not reached[0][0, 0, -1, -1].any(), 'far cells are left to the deformable attention'


def test_split_attention_does_not_see_padding() -> None:
    # A frame beside padding, and the same with other numbers in it.
    module = learnt(SplitAttention(CONFIG))
    valid = torch.zeros((1, *SIZE), dtype=torch.bool)
    valid[:, :40, :60] = True
    padded = Grid.of(valid, CONFIG.channels)
    assert padded.padding is not None
    given = tokens(2)
    changed = torch.where(padded.padding[:, None, :, None], 5 * given + 1, given)
    first, second = module(given, padded), module(changed, padded)
    torch.testing.assert_close(first, second, rtol=0, atol=1e-5)
    assert not first[0, :, padded.padding[0]].any()
    assert first.any()


def test_box_attention_stays_in_its_slot() -> None:
    module = learnt(BoxAttention(CONFIG))
    boxes = torch.randn(1, 4, 5, 64, requires_grad=True)
    module(boxes)[0, 0, 2].sum().backward()
    assert boxes.grad is not None
    assert boxes.grad[0, 3, 2].any()
    assert not boxes.grad[0, :, [0, 1, 3, 4]].any()


def test_frame_code_tells_the_distance_to_the_middle() -> None:
    five, seven = (frame_code(count, 32, torch.device('cpu')) for count in (5, 7))
    torch.testing.assert_close(five, seven[1:-1])
    assert (five[0] - five[1]).norm() > 0.5


def test_levels_and_tokens() -> None:
    given = tokens(2)
    torch.testing.assert_close(joined(grid().levels(given)), given)
