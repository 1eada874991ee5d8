# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Instances and depth find each other by their stamps, and every message is in the books."""

from __future__ import annotations

import numpy as np
import pytest

from stmask_ros.lifter.pairing import (
    DEACTIVATED,
    NO_PARTNER,
    NO_STAMP,
    REPEATED,
    REPLACED,
    Pairing,
)


def opened(slop: int = 0, capacity: int = 5) -> Pairing:
    pairing = Pairing(slop, capacity)
    pairing.open()
    return pairing


def check_books(pairing: Pairing) -> None:
    for counts in pairing.counts():
        total = counts.lifted + sum(counts.dropped.values()) + counts.waiting + counts.in_work
        assert counts.received == total


@pytest.mark.parametrize('first', ['instances', 'depth'])
def test_equal_stamps_are_a_pair_whichever_comes_first(first):
    pairing = opened()
    puts = [(pairing.put_instances, 'i'), (pairing.put_depth, 'd')]
    for put, message in puts if first == 'instances' else puts[::-1]:
        assert pairing.take(0) is None
        put(message, 10, 0)
    pair = pairing.take(0)
    assert pair is not None and (pair.instances, pair.depth) == ('i', 'd')
    check_books(pairing)
    pairing.finish()
    assert [counts.lifted for counts in pairing.counts()] == [1, 1]
    check_books(pairing)


def test_without_slop_another_stamp_is_no_partner():
    pairing = opened()
    pairing.put_instances('i', 10, 0)
    pairing.put_depth('d', 11, 0)
    assert pairing.take(0) is None


def test_within_the_slop_the_nearest_wins_once_no_nearer_can_come():
    pairing = opened(slop=5)
    pairing.put_instances('i', 10, 0)
    pairing.put_depth('d7', 7, 0)
    assert pairing.take(0) is None
    pairing.put_depth('d12', 12, 0)
    pair = pairing.take(0)
    assert pair is not None and pair.depth == 'd12'


def test_the_newest_pair_wins():
    pairing = opened()
    for stamp in (1, 2, 3):
        pairing.put_depth(f'd{stamp}', stamp, 0)
    pairing.put_instances('i1', 1, 0)
    pairing.put_instances('i3', 3, 0)
    pair = pairing.take(0)
    assert pair is not None and (pair.instances, pair.depth) == ('i3', 'd3')
    instances, depth = pairing.counts()
    assert instances.dropped == {REPLACED: 1}
    assert depth.dropped == {REPLACED: 1, NO_PARTNER: 1}
    pairing.drop('no transform')
    assert pairing.counts()[0].dropped == {REPLACED: 1, 'no transform': 1}
    check_books(pairing)


def test_what_waits_is_bounded_and_repeated_and_missing_stamps_are_counted():
    pairing = opened(capacity=3)
    for stamp in range(10):
        pairing.put_depth('d', stamp, 0)
    pairing.put_depth('again', 9, 0)
    depth = pairing.counts()[1]
    assert depth.waiting == 3
    assert depth.dropped == {NO_PARTNER: 6, NO_STAMP: 1, REPEATED: 1}


def test_after_closing_nothing_waits():
    pairing = opened()
    pairing.put_depth('d', 1, 0)
    pairing.put_depth('d', 2, 0)
    pairing.put_instances('i', 2, 0)
    pairing.put_instances('i', 3, 0)
    pairing.close()
    assert pairing.take(1.0) is None
    assert pairing.counts()[0].dropped == {DEACTIVATED: 2}
    check_books(pairing)


@pytest.mark.parametrize('slop', [0, 3])
def test_the_books_balance_whatever_comes(slop):
    pairing, random = opened(slop), np.random.default_rng(0)
    for _ in range(3000):
        stamp = int(random.integers(0, 60))
        put = pairing.put_depth if random.random() < 0.6 else pairing.put_instances
        put('m', stamp, 0)
        if random.random() < 0.3 and pairing.take(0) is not None:
            check_books(pairing)
            pairing.finish() if random.random() < 0.5 else pairing.drop('calibration')
        check_books(pairing)
    assert all(counts.lifted > 10 for counts in pairing.counts())
