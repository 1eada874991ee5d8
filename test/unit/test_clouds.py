# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Point clouds with any order of fields, datatype, padding and endianness."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from depth_messages import cloud_message

from stmask_ros.lifting.cloud import read_cloud
from stmask_ros.lifting.errors import LiftingError


def points(count: int = 60) -> np.ndarray:
    found = np.random.default_rng(0).uniform(-100, 100, (count, 3)).round(1)
    found[5, 1] = np.nan
    return found


@pytest.mark.parametrize('kinds', ['f4 f4 f4', 'f8 f8 f8', 'f8 f4 f8'])
@pytest.mark.parametrize('order', ['xyz', 'zyx', 'yxz'])
@pytest.mark.parametrize('big_endian', [False, True])
@pytest.mark.parametrize('width', [0, 12])
def test_floats_in_any_order(kinds, order, big_endian, width):
    xyz = points()
    columns = {'ring': np.arange(60, dtype=np.uint16)}
    for name, kind in zip(order, kinds.split(), strict=True):
        columns[name] = xyz[:, 'xyz'.index(name)].astype(kind)
    columns['intensity'] = np.arange(60, dtype=np.uint8)
    message = cloud_message(columns, width, big_endian, 5, 7 if width else 0)
    cloud = read_cloud(message)
    np.testing.assert_allclose(cloud.xyz, xyz, rtol=1e-6)
    assert cloud.records.shape == (60, message.point_step)


@pytest.mark.parametrize('kind', ['i1', 'u1', 'i2', 'u2', 'i4', 'u4'])
def test_whole_numbers(kind):
    xyz = np.random.default_rng(0).integers(0, 120, (10, 3)).astype(kind)
    cloud = read_cloud(cloud_message(dict(zip('xyz', xyz.T.copy(), strict=True))))
    np.testing.assert_array_equal(cloud.xyz, xyz)


def test_no_points_are_a_cloud_too():
    message = cloud_message({name: np.zeros(3, np.float32) for name in 'xyz'})
    message.width, message.data = 0, b''
    assert len(read_cloud(message)) == 0


@pytest.mark.parametrize(('changes', 'reason'), [
    ({'fields': []}, 'cloud fields'),
    ({'fields': [SimpleNamespace(name=n, offset=0, datatype=9, count=1) for n in 'xyz']},
     'cloud fields'),
    ({'fields': [SimpleNamespace(name=n, offset=10, datatype=7, count=1) for n in 'xyz']},
     'cloud fields'),
    ({'point_step': 0}, 'cloud size'),
    ({'width': 1 << 30}, 'cloud size'),
    ({'height': 2, 'row_step': 3}, 'cloud size'),
    ({'data': b'1234'}, 'short cloud data'),
])
def test_a_broken_cloud_is_named(changes, reason):
    message = cloud_message({name: np.zeros(5, np.float32) for name in 'xyz'})
    vars(message).update(changes)
    with pytest.raises(LiftingError) as caught:
        read_cloud(message)
    assert caught.value.reason == reason
