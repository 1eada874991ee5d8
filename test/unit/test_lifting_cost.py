# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Lifting costs less than a plain numpy program that does less."""

from __future__ import annotations

import pytest

from benchmark.lifting_cost import compare


@pytest.mark.parametrize(('width', 'height', 'of_cloud', 'largest'), [
    (640, 480, False, 0.4), (1280, 720, False, 0.25), (640, 480, True, 1.0)])
def test_it_is_a_share_of_a_plain_program(width, height, of_cloud, largest, record_property):
    ours, theirs = compare('test', width, height, 15, of_cloud)
    record_property('share of plain numpy', f'{ours / theirs:.2f} ({ours:.1f} of {theirs:.1f} ms)')
    assert ours < largest * theirs
