# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""docs/faults.md names tests that exist, and all tests of faults are in it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Library level: no behaviour of the node.
NOT_OF_THE_NODE = {
    'test_a_stream', 'test_compressed', 'test_raw', 'test_a_decompression_bomb_takes_no_memory',
    'test_a_broken_file_is_one_sentence', 'test_what_is_whole_is_read_beside_what_is_bad',
    'test_a_byte_order_mark_is_no_matter', 'test_a_broken_text_is_one_sentence',
    'test_a_broken_picture_is_one_sentence'}


def test_names() -> None:
    """Every test named, and none forgotten."""
    of_segmenter, _, of_lifter = (ROOT / 'docs/faults.md').read_text().partition('## The lifter')
    named = set(re.findall(r'`(test_\w+)(?:\[[^]]*\])?`', of_segmenter))
    there = {
        name for path in (ROOT / 'test/fault').glob('test_*.py')
        for name in re.findall(r'^def (test_\w+)', path.read_text(), re.MULTILINE)}
    assert named == there - NOT_OF_THE_NODE
    lifter = ''.join(
        (ROOT / 'test/ros' / name).read_text()
        for name in ('test_lifter_node.py', 'test_real_tf2.py'))
    for name in re.findall(r'`(test_\w+)`', of_lifter):
        assert f'def {name}(' in lifter


def test_models() -> None:
    """Every fault of a model has its row."""
    rows = re.findall(r'`test_a_model_that_is_not_taken\[(\w+)\]`', (
        ROOT / 'docs/faults.md').read_text())
    source = (ROOT / 'test/fault/test_weight_faults.py').read_text()
    table = source.partition('FAULTS: dict')[2].partition('\n}')[0]
    assert rows == re.findall(r'^    (\w+): ', table, re.MULTILINE)
