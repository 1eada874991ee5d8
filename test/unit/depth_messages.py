# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Depth images, clouds and calibrations as messages, made without ROS."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

DATATYPES = {'i1': 1, 'u1': 2, 'i2': 3, 'u2': 4, 'i4': 5, 'u4': 6, 'f4': 7, 'f8': 8}


def depth_message(depth: np.ndarray, padding: int = 0, big_endian: bool = False) -> Any:
    """Return a sensor_msgs/Image of uint16 millimetres or float32 metres."""
    kind = f'{">" if big_endian else "<"}{depth.dtype.kind}{depth.dtype.itemsize}'
    rows = np.ascontiguousarray(depth.astype(kind)).view(np.uint8).reshape(len(depth), -1)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=255)
    return SimpleNamespace(
        height=depth.shape[0], width=depth.shape[1], step=padded.shape[1],
        encoding='16UC1' if depth.dtype == np.uint16 else '32FC1', is_bigendian=int(big_endian),
        data=padded.tobytes())


def compressed_depth_message(depth: np.ndarray, kind: str) -> Any:
    """Return what image_transport makes of a depth image; kind: png or rvl."""
    encoding, a, b = '16UC1', 0.0, 0.0
    if depth.dtype == np.float32:
        encoding, a = '32FC1', 100.0 * 101.0
        b = 1 - a / 10.0
        with np.errstate(all='ignore'):
            inverse = np.where((depth > 0) & (depth < 10), a / depth + b, 0)
        depth = np.nan_to_num(inverse).astype(np.uint16)
    body = cv2.imencode('.png', depth)[1].tobytes() if kind == 'png' else rvl(depth)
    return SimpleNamespace(
        format=f'{encoding}; compressedDepth {kind}', data=struct.pack('<iff', 0, a, b) + body)


def rvl(depth: np.ndarray) -> bytes:
    """Compress as the paper tells, one number after the other."""
    nibbles: list[int] = []

    def put(value: int) -> None:
        while True:
            more = value > 7
            nibbles.append(value & 7 | (8 if more else 0))
            value >>= 3
            if not more:
                return

    values = depth.ravel().tolist()
    position = previous = 0
    while position < len(values):
        start = position
        while position < len(values) and values[position] == 0:
            position += 1
        put(position - start)
        start = position
        while position < len(values) and values[position] != 0:
            position += 1
        put(position - start)
        for value in values[start:position]:
            delta = value - previous
            put(2 * delta if delta >= 0 else -2 * delta - 1)
            previous = value
    nibbles += [0] * (-len(nibbles) % 8)
    words = [sum(nibble << 28 - 4 * i for i, nibble in enumerate(nibbles[at:at + 8]))
             for at in range(0, len(nibbles), 8)]
    return struct.pack(f'<ii{len(words)}I', depth.shape[1], depth.shape[0], *words)


def cloud_message(
    columns: dict[str, np.ndarray], width: int = 0, big_endian: bool = False,
    point_padding: int = 0, row_padding: int = 0,
) -> Any:
    """
    Return a sensor_msgs/PointCloud2 with fields in this order.

    width: of an organised cloud; 0 for one row.
    """
    order, count = '>' if big_endian else '<', len(next(iter(columns.values())))
    width = width or count
    fields, offset, records = [], 0, []
    for name, values in columns.items():
        kind = f'{values.dtype.kind}{values.dtype.itemsize}'
        fields.append(SimpleNamespace(name=name, offset=offset, datatype=DATATYPES[kind], count=1))
        offset += values.dtype.itemsize
        records.append(values.astype(order + kind).view(np.uint8).reshape(count, -1))
    table = np.pad(np.concatenate(records, axis=1), ((0, 0), (0, point_padding)))
    rows = np.pad(table.reshape(count // width, -1), ((0, 0), (0, row_padding)))
    return SimpleNamespace(
        height=count // width, width=width, fields=fields, is_bigendian=big_endian,
        point_step=table.shape[1], row_step=rows.shape[1], data=rows.tobytes(), is_dense=False)


def camera_info(
    width: int, height: int, k: list[float], model: str = 'plumb_bob',
    d: tuple[float, ...] = (), roi: tuple[int, int, int, int] = (0, 0, 0, 0),
    binning: tuple[int, int] = (0, 0),
) -> Any:
    """Return a sensor_msgs/CameraInfo; roi: left, top, width, height."""
    region = SimpleNamespace(
        x_offset=roi[0], y_offset=roi[1], width=roi[2], height=roi[3], do_rectify=False)
    p = [k[0], 0.0, k[2], 0.0, 0.0, k[4], k[5], 0.0, 0.0, 0.0, 1.0, 0.0]
    return SimpleNamespace(
        width=width, height=height, distortion_model=model, d=list(d), k=k, p=p,
        binning_x=binning[0], binning_y=binning[1], roi=region)
