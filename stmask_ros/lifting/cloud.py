# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Point clouds: sensor_msgs/PointCloud2 with any order of fields, datatypes, padding and endianness.

Works on messages of rclpy and of rosbags alike. A message that cannot be read raises LiftingError,
and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stmask_ros.lifting.errors import LiftingError

Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

# sensor_msgs/PointField.datatype.
_DATATYPES = {
    1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 8: 'f8',
}
MAX_POINTS = 16 * 1024 * 1024


@dataclass(frozen=True)
class Cloud:
    """
    The points of a cloud.

    xyz: float32 [N, 3] in the cloud's frame [m], not finite where invalid; each coordinate of all
    points in one piece.
    records: uint8 [N, point_step], each point with all its fields, as it was sent.
    """

    xyz: Float32Array
    records: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.xyz)


def read_cloud(message: Any) -> Cloud:
    """Return the points of a sensor_msgs/PointCloud2, row by row; LiftingError if it has none."""
    records = _records(message)
    order = '>' if message.is_bigendian else '<'
    fields = {str(field.name): field for field in message.fields}
    missing = [name for name in 'xyz' if name not in fields]
    if missing:
        raise LiftingError('cloud fields', (
            f"the cloud has no field {', '.join(missing)}; it has {', '.join(fields) or 'none'}"))
    columns = [_column(records, fields[name], order) for name in 'xyz']
    with np.errstate(over='ignore', invalid='ignore'):
        return Cloud(np.stack(columns).astype(np.float32, copy=False).T, records)


def _records(message: Any) -> npt.NDArray[np.uint8]:
    height, width = int(message.height), int(message.width)
    point_step, row_step = int(message.point_step), int(message.row_step)
    if height < 0 or width < 0 or point_step <= 0 or height * width > MAX_POINTS:
        raise LiftingError('cloud size', (
            f'the cloud has {width}x{height} points of {point_step} bytes: expected at most '
            f'{MAX_POINTS} points of at least one byte'))
    if height > 1 and row_step < width * point_step:
        raise LiftingError('cloud size', (
            f'row_step is {row_step} bytes, but a row of {width} points of {point_step} bytes '
            f'takes {width * point_step}'))
    if height * width == 0:
        return np.zeros((0, point_step), np.uint8)
    data = np.frombuffer(message.data, np.uint8)
    needed = row_step * (height - 1) + width * point_step
    if data.size < needed:
        raise LiftingError('short cloud data', (
            f'the cloud has {data.size} bytes of data; {width}x{height} points of {point_step} '
            f'bytes in rows of {row_step} need {needed}'))
    strides = (row_step, point_step, 1)
    rows = np.ndarray((height, width, point_step), np.uint8, data, strides=strides)
    return np.ascontiguousarray(rows.reshape(height * width, point_step))


def _column(records: npt.NDArray[np.uint8], field: Any, order: str) -> npt.NDArray[Any]:
    kind = _DATATYPES.get(int(field.datatype))
    if kind is None:
        raise LiftingError('cloud fields', (
            f"field '{field.name}' has the datatype {field.datatype}: expected 1 to 8"))
    offset, size, point_step = int(field.offset), int(kind[1]), records.shape[1]
    if not 0 <= offset <= point_step - size:
        raise LiftingError('cloud fields', (
            f"field '{field.name}' takes bytes {offset} to {offset + size} of a point of "
            f'{point_step} bytes'))
    if len(records) == 0:
        return np.zeros(0, kind)
    return np.ndarray(
        (len(records),), f'{order}{kind}', records, offset, strides=(point_step,))
