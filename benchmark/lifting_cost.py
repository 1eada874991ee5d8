# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
How much processor time lifting takes, as a share of a plain numpy program in the same run.

    python benchmark/lifting_cost.py [--pairs 60]

Ten instances; from the messages' fields (masks as COCO run lengths, depth as 16UC1 bytes, cloud as
float32 records) to tracks and boxes. The plain program does for each instance what comes to mind
first: its mask in full size, all its points, their median.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from stmask_ros.lifting.camera import Calibration
from stmask_ros.lifting.cloud import read_cloud
from stmask_ros.lifting.depth import read_depth
from stmask_ros.lifting.instances import InstanceFrame
from stmask_ros.lifting.labels import label_map
from stmask_ros.lifting.lifter import Lifter
from stmask_ros.lifting.measurement import Sensor
from stmask_ros.lifting.tracks import Motion
from stmask_ros.lifting.transforms import Transform
from stmask_ros.lifting.views import CloudView, RegisteredView
from stmask_ros.masks import MaskEncoding, RegionMask, decode

INSTANCES = 10
CLOUD_POINTS = 100_000
TO_WORLD = Transform.from_numbers((0.1, 0.2, 1.2), (-0.5, 0.5, -0.5, 0.5))
SENSOR = Sensor()


def instances(width: int, height: int) -> Any:
    """Return the message of ten ellipses of a twelfth of the image's height and more."""
    message = SimpleNamespace(
        header=SimpleNamespace(stamp=SimpleNamespace(sec=1, nanosec=0)), image_height=height,
        image_width=width, epoch=1, instances=[])
    for number in range(INSTANCES):
        canvas = np.zeros((height, width), np.uint8)
        column, row = number % 5, number // 5
        center = (int(width * (0.1 + 0.2 * column)), int(height * (0.3 + 0.4 * row)))
        axes = (int(width * (0.04 + 0.004 * number)), int(height * (0.12 + 0.006 * number)))
        cv2.ellipse(canvas, center, axes, 10 * number, 0, 360, 1, -1)
        mask = RegionMask.from_full(canvas.astype(bool))
        message.instances.append(SimpleNamespace(
            track_id=number + 1, state=2, class_id=1, class_name='person', score=0.9,
            mask=SimpleNamespace(
                encoding=1, x_offset=mask.x_offset, y_offset=mask.y_offset, width=mask.width,
                height=mask.height, data=mask.encode(MaskEncoding.COCO_RLE))))
    return message


def depth_of(message: Any) -> Any:
    """Return a 16UC1 message: each ellipse at its own distance before a wall, with noise."""
    depth = np.full((message.image_height, message.image_width), 7000.0)
    for number, item in enumerate(message.instances):
        depth[decode(item.mask).to_full(*depth.shape)] = 1500 + 400 * number
    depth += np.random.default_rng(0).normal(size=depth.shape) * 10
    depth[np.random.default_rng(1).random(depth.shape) < 0.1] = 0
    return SimpleNamespace(
        height=depth.shape[0], width=depth.shape[1], step=depth.shape[1] * 2, encoding='16UC1',
        is_bigendian=0, data=depth.astype('<u2').tobytes())


def cloud_of(message: Any, depth: Any, camera: Calibration) -> Any:
    """Return a cloud of points: half of them in the image, half around and behind."""
    random = np.random.default_rng(2)
    pixels = random.integers(0, camera.width * camera.height, CLOUD_POINTS // 2)
    z = np.maximum(read_depth(depth).metres(pixels), 0.5)[:, None]
    points = np.concatenate([
        np.hstack([camera.rays[pixels] * z, z]),
        random.uniform(-20, 20, (CLOUD_POINTS // 2, 3))]).astype(np.float32)
    records = np.zeros(CLOUD_POINTS, [('x', 'f4'), ('y', 'f4'), ('z', 'f4'), ('intensity', 'f4')])
    for axis, name in enumerate('xyz'):
        records[name] = points[:, axis]
    fields = [SimpleNamespace(name=name, offset=4 * place, datatype=7, count=1)
              for place, name in enumerate('xyz')]
    return SimpleNamespace(
        height=1, width=CLOUD_POINTS, fields=fields, is_bigendian=False, point_step=16,
        row_step=16 * CLOUD_POINTS, data=records.tobytes())


def plain_depth(message: Any, depth: Any, camera: Calibration) -> list[np.ndarray]:
    """Return the median point of each instance, without a thought of cost."""
    metres = np.frombuffer(depth.data, np.uint16).reshape(depth.height, depth.width) / 1000.0
    rows, columns = np.mgrid[:depth.height, :depth.width]
    x, y = (columns - camera.cx) / camera.fx * metres, (rows - camera.cy) / camera.fy * metres
    positions = []
    for item in message.instances:
        inside = decode(item.mask).to_full(depth.height, depth.width) & (metres > 0)
        points = np.stack([x[inside], y[inside], metres[inside]], axis=1)
        world = points @ TO_WORLD.rotation.T + TO_WORLD.translation
        positions.append(np.concatenate([
            np.median(world, axis=0), world.min(axis=0), world.max(axis=0)]))
    return positions


def plain_cloud(message: Any, cloud: Any, camera: Calibration) -> list[np.ndarray]:
    """Return the median point of each instance, without a thought of cost."""
    kind = np.dtype({'names': ['x', 'y', 'z'], 'formats': ['f4'] * 3, 'offsets': [0, 4, 8],
                     'itemsize': 16})
    records = np.frombuffer(cloud.data, kind)
    points = np.stack([records['x'], records['y'], records['z']], axis=1).astype(float)
    points = points[points[:, 2] > 0]
    columns = np.rint(points[:, 0] / points[:, 2] * camera.fx + camera.cx).astype(int)
    rows = np.rint(points[:, 1] / points[:, 2] * camera.fy + camera.cy).astype(int)
    seen = (columns >= 0) & (columns < camera.width) & (rows >= 0) & (rows < camera.height)
    points, columns, rows = points[seen], columns[seen], rows[seen]
    positions = []
    for item in message.instances:
        inside = points[decode(item.mask).to_full(camera.height, camera.width)[rows, columns]]
        world = inside @ TO_WORLD.rotation.T + TO_WORLD.translation
        positions.append(np.concatenate([
            np.median(world, axis=0), world.min(axis=0), world.max(axis=0)]))
    return positions


def milliseconds(work: Callable[[], object], pairs: int) -> float:
    """Return the median processor time of all threads of one call [ms]."""
    times = []
    for _ in range(pairs):
        begin = time.process_time()
        work()
        times.append((time.process_time() - begin) * 1e3)
    return float(np.median(times))


def compare(name: str, width: int, height: int, pairs: int, of_cloud: bool) -> tuple[float, float]:
    """Print and return processor time of lifting and of the plain program [ms]."""
    camera = Calibration(width, height, 0.9 * width, 0.9 * width, width / 2, height / 2)
    message = instances(width, height)
    depth = depth_of(message)
    lifter = Lifter(SENSOR, Motion(), vertical=2)
    registered, projected = RegisteredView(camera, camera), CloudView(camera, Transform.identity())
    cloud = cloud_of(message, depth, camera) if of_cloud else None

    def lifted() -> None:
        message.header.stamp.sec += 1
        frame = InstanceFrame.from_message(message)
        labels = label_map(frame, SENSOR.erosion)
        if cloud is None:
            samples = registered.sample(read_depth(depth), frame, labels, SENSOR.most_points)
        else:
            samples = projected.sample(read_cloud(cloud), frame, labels, SENSOR.most_points)
        assert lifter.lift(frame, samples, TO_WORLD).measured.all()

    def plain() -> None:
        if cloud is None:
            plain_depth(message, depth, camera)
        else:
            plain_cloud(message, cloud, camera)

    lifted()
    ours, theirs = milliseconds(lifted, pairs), milliseconds(plain, max(pairs // 4, 5))
    print(f'{name:36} {ours:7.2f} ms   plain numpy {theirs:7.2f} ms   share {ours / theirs:.2f}')
    return ours, theirs


def main() -> None:
    """Print the three figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--pairs', type=int, default=60)
    pairs = parser.parse_args().pairs
    compare('depth 640x480', 640, 480, pairs, of_cloud=False)
    compare('depth 1280x720', 1280, 720, pairs, of_cloud=False)
    compare('cloud of 100,000 points, 640x480', 640, 480, pairs, of_cloud=True)


if __name__ == '__main__':
    main()
