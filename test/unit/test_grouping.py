# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Values of several objects in one array, some objects without any."""

from __future__ import annotations

import numpy as np

from stmask_ros.lifting.grouping import Grouping

GROUPING = Grouping(np.array([0, 2, 0, 3, 0]))
VALUES = np.array([[1, 2, 3, 4, 5], [5, 3, 1, 2, 4]], np.float32)


def test_owners_lead_to_their_grouping():
    assert GROUPING.owners.tolist() == [1, 1, 3, 3, 3]
    found = Grouping.of(GROUPING.owners.astype(np.uint8), 5)
    np.testing.assert_array_equal(found.sizes, GROUPING.sizes)
    assert GROUPING.spread(np.array([9, 8, 7, 6, 5])).tolist() == [8, 8, 6, 6, 6]


def test_some_values_keep_their_owners():
    places = np.array([1, 2, 4])
    assert GROUPING.chosen(places).owners.tolist() == GROUPING.owners[places].tolist()
    assert GROUPING.chosen(places[:0]).sizes.tolist() == [0, 0, 0, 0, 0]


def test_objects_without_values_have_no_least_one():
    np.testing.assert_array_equal(GROUPING.reduced(np.minimum, VALUES), np.array([
        [np.nan, 1, np.nan, 3, np.nan], [np.nan, 3, np.nan, 1, np.nan]], np.float32))
    none = Grouping(np.zeros(2, np.int64))
    assert np.isnan(none.reduced(np.add, VALUES[:, :0])).all()
    full = Grouping(np.array([2, 3]))
    assert full.reduced(np.add, VALUES).tolist() == [[3, 12], [8, 7]]
    assert Grouping(np.zeros(0, np.int64)).reduced(np.add, VALUES[:, :0]).shape == (2, 0)
