# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The lifter node's parameters: their values, and the rules these obey."""

from __future__ import annotations

from dataclasses import dataclass

from stmask_ros.lifting.errors import LiftingError
from stmask_ros.lifting.measurement import Sensor
from stmask_ros.lifting.pipeline import Geometry
from stmask_ros.lifting.tracks import Motion
from stmask_ros.lifting.transforms import Transform
from stmask_ros.ros.parameter_rules import broken_rules, parameter

_SENSOR, _MOTION = Sensor(), Motion()


@dataclass(frozen=True)
class LifterParameters:
    """The values of all parameters of the lifter node (config/lifter.yaml explains each)."""

    input: str = parameter(
        'depth',
        "What is paired with instances: 'depth' (Image), 'compressed_depth' (CompressedImage on "
        "depth/compressedDepth) or 'points' (PointCloud2).",
        read_only=True, choices=('depth', 'compressed_depth', 'points'))
    slop: float = parameter(
        0.0, 'Largest difference between the stamps of a pair [s]; 0: they are equal.',
        read_only=True, between=(0.0, 1.0))
    queue: int = parameter(
        60, 'Depth images or clouds that wait for their instances at most [count].',
        read_only=True, between=(1, 1000))
    rectified: bool = parameter(
        False, 'Images and depth are rectified: P of camera_info counts, not K and D.',
        read_only=True)
    fixed_frame: str = parameter(
        '', "Output frame, such as 'odom' or 'map'. Empty: the image's optical frame.",
        read_only=True, may_be_empty=True)
    transforms: str = parameter(
        'tf', "Where transforms come from: 'tf' (tf2), or 'pose' (PoseStamped of the image's "
        'optical frame, on the topic pose).',
        read_only=True, choices=('tf', 'pose'))
    transform_wait: float = parameter(
        0.1, 'How long a pair waits for the transform at its stamp [s].', between=(0.0, 2.0))
    extrinsics: str = parameter(
        '', "From the frame of the depth to the image's: 'x y z qx qy qz qw'. Empty: from tf.",
        read_only=True, may_be_empty=True)
    publish_tf: bool = parameter(
        False, 'Publish a frame for each confirmed track on /tf.', read_only=True)
    remove_classes: tuple[str, ...] = parameter(
        ('person',), 'Names or numbers of the classes that depth_static and points_static are '
        'without.')
    remove_margin: int = parameter(
        8, 'By how much what is removed is grown [pixel of the image].', between=(0, 200))
    erosion: int = parameter(
        _SENSOR.erosion, 'Pixels at the edge of a mask whose depths do not say how far the object '
        'is [pixel].', read_only=True, between=(0, 50))
    discontinuity: float = parameter(
        _SENSOR.discontinuity, 'Gap between two surfaces, as a share of the distance.',
        read_only=True, between=(0.005, 1.0))
    least_points: int = parameter(
        _SENSOR.least_points, 'Points of an instance for a measurement [count].',
        read_only=True, between=(1, 100_000))
    least_share: float = parameter(
        _SENSOR.least_share, 'Share of a mask with valid depth for a measurement [0..1].',
        read_only=True, between=(0.0, 1.0))
    most_points: int = parameter(
        _SENSOR.most_points, 'Points of an instance that are looked at, about [count].',
        read_only=True, between=(50, 100_000))
    farthest: float = parameter(
        _SENSOR.farthest, 'Depth that is believed [m].', read_only=True, between=(0.1, 200.0))
    depth_noise: float = parameter(
        _SENSOR.depth_noise, 'Standard deviation of a depth at 1 m [m]; it grows with the square.',
        read_only=True, between=(1e-5, 1.0))
    acceleration_noise: float = parameter(
        _MOTION.acceleration_noise, 'Standard deviation of the acceleration of objects [m/s^2].',
        read_only=True, between=(0.01, 100.0))
    gate: float = parameter(
        _MOTION.gate, 'Largest Mahalanobis distance of a measurement from its prediction.',
        read_only=True, between=(0.1, 1000.0))
    autostart: bool = parameter(
        False, 'Configure and activate at start-up, without a lifecycle manager.',
        read_only=True)
    diagnostics_period: float = parameter(
        1.0, 'Time between two reports on /diagnostics [s].', read_only=True,
        between=(0.05, 60.0))

    def problems(self) -> list[str]:
        """Return what is wrong with the values, one line each; empty if all are right."""
        problems = broken_rules(self)
        try:
            self.geometry()
        except LiftingError as error:
            problems.append(f'extrinsics: {error}')
        return problems

    def sensor(self) -> Sensor:
        """Return how depth is measured."""
        return Sensor(
            erosion=self.erosion, discontinuity=self.discontinuity,
            least_points=self.least_points, least_share=self.least_share,
            most_points=self.most_points, farthest=self.farthest, depth_noise=self.depth_noise)

    def motion(self) -> Motion:
        """Return how things are expected to move."""
        return Motion(acceleration_noise=self.acceleration_noise, gate=self.gate)

    def geometry(self) -> Geometry:
        """Return which frames count; LiftingError if extrinsics are none."""
        return Geometry(self.fixed_frame, self.rectified, _extrinsics(self.extrinsics))


def _extrinsics(text: str) -> Transform | None:
    if not text.strip():
        return None
    try:
        numbers = [float(word) for word in text.replace(',', ' ').split()]
    except ValueError:
        numbers = []
    if len(numbers) != 7:
        raise LiftingError('transform', f"'{text}': expected seven numbers, x y z qx qy qz qw")
    return Transform.from_numbers(numbers[:3], numbers[3:])
