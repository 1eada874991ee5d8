# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
How well masks and depth are lifted, on synthetic scenes whose geometry is known exactly.

    python benchmark/lifting_accuracy.py [--seconds 6] [--rate 15] [--scenes 3]

Prints errors with faultless depth, with the faults of a depth camera, with each improvement taken
away, and with depth that is off by one frame.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from stmask_ros.lifting.depth import DepthImage
from stmask_ros.lifting.instances import InstanceFrame
from stmask_ros.lifting.labels import LabelMap, label_map
from stmask_ros.lifting.lifter import LiftedFrame, Lifter
from stmask_ros.lifting.measurement import Sensor
from stmask_ros.lifting.tracks import Motion
from stmask_ros.lifting.transforms import Transform
from stmask_ros.lifting.views import RegisteredView
from stmask_ros.masks import RegionMask
from stmask_ros.sources.rgbd_scene import (
    Faults,
    Rendered,
    Scene,
    demo_scene,
    render,
    with_faults,
)

FEWEST_PIXELS = 60
LONGEST_COAST = 10


@dataclass(frozen=True)
class Trial:
    """
    What is lifted, and how.

    faults: of the depth; None for exact depth. dropped: share of depth frames that are missing.
    late: by how many frames depth is behind its stamp. jitter: of the transforms, standard
    deviation [m], and [degree] times a tenth of a metre. sensor, motion: of the lifter.
    no_filter: take each measurement as it is.
    """

    faults: Faults | None = None
    dropped: float = 0.0
    late: int = 0
    jitter: float = 0.0
    sensor: Sensor = field(default_factory=Sensor)
    motion: Motion = field(default_factory=Motion)
    no_filter: bool = False


@dataclass(frozen=True)
class Errors:
    """
    Errors of all instances in all frames.

    position: of measured ones, as a share of the distance. coasted: of predicted ones, likewise.
    size: of the longer horizontal side and of the height of objects that are seen in full, as a
    share. The shorter side of round things and of flat ones is not seen.
    velocity: a second after an object was first seen, while seen in full [m/s].
    """

    position: np.ndarray
    coasted: np.ndarray
    size: np.ndarray
    velocity: np.ndarray

    def summary(self) -> str:
        """Return the figures on one line."""
        def percentiles(values: np.ndarray, unit: float) -> str:
            if not len(values):
                return '      -      '
            return f'{np.median(values) * unit:5.2f} /{np.percentile(values, 99) * unit:6.2f}'
        return '   '.join((
            percentiles(self.position, 100), percentiles(self.size, 100),
            percentiles(self.velocity, 1), percentiles(self.coasted, 100),
            f'{len(self.position):6d}'))


def random_scene(seed: int, width: int, height: int) -> Scene:
    """Return the demo's scene with other places, sizes and velocities."""
    scene, random = demo_scene(width, height), np.random.default_rng(seed)
    if seed == 0:
        return scene
    shapes = []
    for shape in scene.shapes:
        shift = random.uniform(-0.4, 0.4, 2)
        scale = random.uniform(0.8, 1.2)
        size = tuple(scale * extent for extent in shape.size)
        center = (shape.center[0] + shift[0], shape.center[1] + shift[1], size[2] / 2)
        turn = random.uniform(-0.3, 0.3)
        velocity = tuple(random.uniform(0.6, 1.3) * value for value in shape.velocity)
        shapes.append(replace(
            shape, center=center, size=size, yaw=shape.yaw + turn, velocity=velocity))
    return replace(scene, shapes=shapes)


def rendered(scene: Scene, seconds: float, rate: float) -> list[Rendered]:
    """Return all frames of a scene."""
    return [render(scene, number / rate) for number in range(round(seconds * rate))]


def true_instances(frames: Sequence[Rendered], count: int) -> Iterator[InstanceFrame]:
    """Yield the true masks of frames; what is hidden coasts for a while without a mask."""
    unseen = np.full(count, LONGEST_COAST + 1)
    for frame in frames:
        visible = np.bincount(frame.ids.ravel(), minlength=count + 1)[1:] >= FEWEST_PIXELS
        unseen = np.where(visible, 0, unseen + 1)
        tracked = np.flatnonzero(unseen <= LONGEST_COAST)
        height, width = frame.ids.shape
        yield InstanceFrame(
            stamp=1_000_000_000 + round(frame.time * 1e9), height=height, width=width, epoch=1,
            track_ids=tracked + 1, states=np.where(visible[tracked], 2, 3),
            class_ids=np.ones(len(tracked), np.int64), class_names=[''] * len(tracked),
            scores=np.full(len(tracked), 0.9, np.float32),
            masks=[RegionMask.from_full(frame.ids == index + 1) if visible[index]
                   else RegionMask.empty() for index in tracked])


def run(scene: Scene, frames: Sequence[Rendered], trial: Trial, seed: int = 0) -> Errors:
    """Lift all frames and return the errors."""
    random = np.random.default_rng(seed)
    lifter = Lifter(trial.sensor, trial.motion, vertical=2)
    view = RegisteredView(scene.camera, scene.camera)
    collected = _Collector(scene)
    for number, instances in enumerate(true_instances(frames, len(scene.shapes))):
        frame = frames[number]
        if random.random() < trial.dropped:
            continue
        depth = frames[max(number - trial.late, 0)].depth
        if trial.faults is not None:
            depth = with_faults(depth, trial.faults, random)
        labels = label_map(instances, trial.sensor.erosion)
        samples = view.sample(
            DepthImage(depth), instances, labels, trial.sensor.most_points)
        if trial.no_filter:
            lifter.reset()
        to_world = _jittered(frame.to_world, trial.jitter, random)
        collected.add(frame, instances, labels, lifter.lift(instances, samples, to_world))
    return collected.errors()


def _jittered(
    transform: Transform, jitter: float, random: np.random.Generator
) -> Transform:
    turn, _ = cv2.Rodrigues(np.radians(10 * jitter) * random.normal(size=3))
    return Transform(
        turn @ transform.rotation, transform.translation + jitter * random.normal(size=3))


class _Collector:
    """Compares what was lifted with what is true."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._position: list[float] = []
        self._coasted: list[float] = []
        self._size: list[float] = []
        self._velocity: list[float] = []
        self._whole_since = np.full(len(scene.shapes), np.inf)

    def add(
        self, frame: Rendered, instances: InstanceFrame, labels: LabelMap, lifted: LiftedFrame
    ) -> None:
        """Note the errors of one frame."""
        whole = frame.whole & np.isin(np.arange(1, len(frame.whole) + 1), instances.track_ids)
        self._whole_since = np.where(whole, np.minimum(self._whole_since, frame.time), np.inf)
        points = self._scene.camera.rays * frame.depth.reshape(-1, 1)
        for row, track_id in enumerate(instances.track_ids.tolist()):
            pixels = np.flatnonzero(labels.labels.ravel() == row + 1)
            if len(pixels) and np.isfinite(lifted.positions[row, 0]):
                surface = np.column_stack([points[pixels], frame.depth.ravel()[pixels]])
                true = frame.to_world.apply(surface.astype(np.float64).mean(axis=0)[None])[0]
                distance = np.linalg.norm(true - frame.to_world.translation)
                error = np.linalg.norm(lifted.positions[row] - true) / distance
                (self._position if lifted.measured[row] else self._coasted).append(error)
            self._add_whole(frame, row, track_id - 1, lifted)

    def _add_whole(
        self, frame: Rendered, row: int, index: int, lifted: LiftedFrame
    ) -> None:
        if not np.isfinite(self._whole_since[index]) or not lifted.measured[row]:
            return
        shape = self._scene.shapes[index]
        true = np.array([max(shape.size[:2]), shape.size[2]])
        size = lifted.turned.sizes[row]
        found = np.array([max(size[:2]), size[2]])
        self._size += (np.abs(found - true) / true).tolist()
        if frame.time - self._whole_since[index] >= 1.0:
            self._velocity.append(
                float(np.linalg.norm(lifted.velocities[row] - shape.velocity)))

    def errors(self) -> Errors:
        """Return all of them."""
        return Errors(*(np.array(values) for values in (
            self._position, self._coasted, self._size, self._velocity)))


def joined(parts: Sequence[Errors]) -> Errors:
    """Return the errors of several runs as one."""
    return Errors(*(np.concatenate([getattr(part, name) for part in parts])
                    for name in ('position', 'coasted', 'size', 'velocity')))


FAULTS = Trial(faults=Faults(), dropped=0.15)
TRIALS = {
    'exact depth': Trial(),
    'faults of a depth camera': FAULTS,
    '  without erosion': replace(FAULTS, sensor=Sensor(erosion=0)),
    '  without the mode (all depths count)': replace(FAULTS, sensor=Sensor(discontinuity=1e6)),
    '  without the gate': replace(FAULTS, motion=Motion(gate=1e6)),
    '  without the filter': replace(FAULTS, no_filter=True),
    '  transforms that jitter': replace(FAULTS, jitter=0.01),
    '  depth one frame late': replace(FAULTS, late=1),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--seconds', type=float, default=6.0)
    parser.add_argument('--rate', type=float, default=15.0)
    parser.add_argument('--scenes', type=int, default=3)
    parser.add_argument('--width', type=int, default=640)
    parser.add_argument('--height', type=int, default=480)
    options = parser.parse_args()
    scenes = [random_scene(seed, options.width, options.height) for seed in range(options.scenes)]
    clips = [rendered(scene, options.seconds, options.rate) for scene in scenes]
    print(f'{"median / 99th percentile":38}  position [%]    size [%]      '
          'velocity [m/s]  predicted [%]  measured')
    for name, trial in TRIALS.items():
        errors = joined([
            run(scene, clip, trial, seed)
            for seed, (scene, clip) in enumerate(zip(scenes, clips, strict=True))])
        print(f'{name:38}  {errors.summary()}', flush=True)


if __name__ == '__main__':
    main()
