# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Masks and depth to tracks in three dimensions, on scenes whose geometry is known exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmark.lifting_accuracy import (
    FAULTS,
    Trial,
    joined,
    random_scene,
    rendered,
    run,
    true_instances,
)
from stmask_ros.lifting.camera import Calibration
from stmask_ros.lifting.cloud import Cloud
from stmask_ros.lifting.depth import DepthImage
from stmask_ros.lifting.instances import InstanceFrame
from stmask_ros.lifting.labels import grown_mask, label_map
from stmask_ros.lifting.lifter import LiftedFrame, Lifter
from stmask_ros.lifting.measurement import Sensor
from stmask_ros.lifting.pipeline import LiftedPair
from stmask_ros.lifting.stamp_check import StampCheck
from stmask_ros.lifting.tracks import Motion
from stmask_ros.lifting.transforms import Transform
from stmask_ros.lifting.views import CloudView, RegisteredView, Samples, UnregisteredView
from stmask_ros.masks import RegionMask
from stmask_ros.sources.rgbd_scene import Faults, Scene, Shape, looking, render, with_faults

SENSOR = Sensor()
CAMERA = Calibration(160, 120, 150.0, 150.0, 79.5, 59.5)
SECOND = 1_000_000_000


@pytest.fixture(scope='module')
def clips():
    scenes = [random_scene(seed, 320, 240) for seed in (0, 1)]
    return [(scene, rendered(scene, 3.0, 10.0)) for scene in scenes]


def errors_of(clips, trial):
    return joined([run(scene, clip, trial, seed) for seed, (scene, clip) in enumerate(clips)])


@pytest.fixture(scope='module')
def with_all(clips):
    return errors_of(clips, FAULTS)


@pytest.mark.parametrize('kind', ['sphere', 'cylinder'])
@pytest.mark.parametrize('height', [0.4, 1.3])
def test_a_round_thing_is_as_wide_as_it_is(kind, height):
    """Though half of it is hidden, from all around."""
    shape = Shape(
        kind, (0.0, 0.0, 0.3), (0.6, 0.6, 0.6), 0.0, (0.0, 0.0, 0.0), (0, 0, 0), kind)
    for angle in np.radians(range(0, 90, 10)):
        place = (3 * np.cos(angle), 3 * np.sin(angle), height)
        camera = CAMERA.resized(480, 640)
        scene = Scene((shape,), camera, lambda _, place=place: looking(place, shape.center))
        seen = render(scene, 0.0)
        (frame,) = true_instances([seen], 1)
        samples = RegisteredView(camera, camera).sample(
            DepthImage(seen.depth), frame, label_map(frame, SENSOR.erosion), SENSOR.most_points)
        size = Lifter(SENSOR, Motion(), vertical=2).lift(
            frame, samples, seen.to_world).turned.sizes[0]
        assert size[:2].max() == pytest.approx(0.6, rel=0.05)


def test_exact_depth_gives_exact_tracks(clips, record_property):
    errors = errors_of(clips, Trial())
    record_property('exact depth', errors.summary())
    assert len(errors.position) > 200
    assert np.median(errors.position) <= 0.01
    assert np.percentile(errors.position, 99) <= 0.03
    assert np.percentile(errors.size, 90) <= 0.05
    assert len(errors.velocity) > 20
    assert np.percentile(errors.velocity, 95) <= 0.1


def test_the_faults_of_a_depth_camera_are_borne(with_all, record_property):
    record_property('with faults', with_all.summary())
    assert np.median(with_all.position) <= 0.02


@pytest.mark.parametrize(('without', 'percentile'), [
    (replace(FAULTS, sensor=Sensor(erosion=0)), 99),
    (replace(FAULTS, sensor=Sensor(discontinuity=1e6)), 99),
    (replace(FAULTS, motion=Motion(gate=1e6)), 100),
], ids=['erosion', 'mode', 'gate'])
def test_each_improvement_is_one(clips, with_all, without, percentile):
    worse = errors_of(clips, without).position
    assert np.percentile(worse, percentile) > 1.1 * np.percentile(with_all.position, percentile)


def test_without_the_filter_velocities_are_unknown_and_outliers_stay(clips, with_all):
    without = errors_of(clips, replace(FAULTS, no_filter=True))
    assert without.velocity.mean() > 3 * with_all.velocity.mean()
    assert without.position.max() >= with_all.position.max()


def scene_of(*shapes: Shape) -> Scene:
    pose = looking((0.0, 0.0, 1.0), (4.0, 0.0, 0.6))
    return Scene(shapes, CAMERA, lambda _: pose)


BALL = Shape('sphere', (3.0, 0.2, 0.4), (0.8, 0.8, 0.8), 0.0, (0.0, 0.5, 0.0), (1, 2, 3), 'ball')


def frame_at(seconds: float, track_ids, masks, states=None, epoch: int = 1) -> InstanceFrame:
    count = len(masks)
    return InstanceFrame(
        SECOND + round(seconds * SECOND), CAMERA.height, CAMERA.width, epoch,
        np.array(track_ids, np.int64), np.array(states or [2] * count, np.int64),
        np.ones(count, np.int64), ['ball'] * count, np.full(count, 0.9, np.float32), masks)


def lift(
    lifter: Lifter, frame: InstanceFrame, depth: np.ndarray, to_world: Transform
) -> LiftedFrame:
    view = RegisteredView(CAMERA, CAMERA)
    labels = label_map(frame, SENSOR.erosion)
    samples = view.sample(DepthImage(depth), frame, labels, SENSOR.most_points)
    return lifter.lift(frame, samples, to_world)


def world_lifter() -> Lifter:
    return Lifter(SENSOR, Motion(), vertical=2)


def test_no_depth_is_no_position():
    seen = render(scene_of(BALL), 0.0)
    frame = frame_at(0, [1], [RegionMask.from_full(seen.ids == 1)])
    lifted = lift(world_lifter(), frame, np.zeros_like(seen.depth), seen.to_world)
    assert not lifted.measured[0]
    assert lifted.valid_shares[0] == 0
    assert lifted.points_used[0] == 0
    assert np.isnan(lifted.positions).all()
    assert np.isnan(lifted.turned.sizes).all()


def test_an_image_of_no_objects_is_lifted_to_none():
    seen = render(scene_of(BALL), 0.0)
    lifted = lift(world_lifter(), frame_at(0, [], []), seen.depth, seen.to_world)
    assert lifted.positions.shape == (0, 3)
    assert len(lifted.measured) == len(lifted.turned.sizes) == len(lifted.surface.points) == 0


def test_a_track_without_depth_is_predicted_and_says_so():
    lifter, scene = world_lifter(), scene_of(BALL)
    for number in range(12):
        seen = render(scene, number / 10)
        frame = frame_at(number / 10, [7], [RegionMask.from_full(seen.ids == 1)])
        depth = seen.depth if number < 10 else np.zeros_like(seen.depth)
        lifted = lift(lifter, frame, depth, seen.to_world)
        if number == 9:
            last = lifted
    assert last.measured[0] and not lifted.measured[0]
    moved = lifted.positions[0] - last.positions[0]
    np.testing.assert_allclose(moved, [0, 0.1, 0], atol=0.03)
    assert lifted.covariances[0].trace() > 1.5 * last.covariances[0].trace()
    assert lifted.last_measured[0] == last.last_measured[0] == SECOND + round(0.9 * SECOND)
    np.testing.assert_allclose(
        lifted.aligned.centers[0] - lifted.positions[0],
        last.aligned.centers[0] - last.positions[0])


def test_the_mask_of_a_coasting_track_is_not_measured():
    wall = Shape('box', (2.0, 0.2, 0.5), (0.1, 1.5, 1.0), 0.0, (0, 0, 0), (1, 2, 3), 'wall')
    lifter = world_lifter()
    seen = render(scene_of(replace(BALL, velocity=(0, 0, 0))), 0.0)
    mask = RegionMask.from_full(seen.ids == 1)
    first = lift(lifter, frame_at(0, [1], [mask]), seen.depth, seen.to_world)
    hidden = render(scene_of(BALL, wall), 0.0)
    lifted = lift(lifter, frame_at(0.1, [1], [mask], [3]), hidden.depth, seen.to_world)
    assert not lifted.measured[0]
    np.testing.assert_allclose(lifted.positions, first.positions, atol=0.01)


def test_what_cannot_be_is_beyond_the_gate_until_it_stays():
    lifter = world_lifter()
    near = render(scene_of(replace(BALL, velocity=(0, 0, 0))), 0.0)
    far = render(scene_of(replace(BALL, center=(5.0, 0.2, 0.4), velocity=(0, 0, 0))), 0.0)
    measured, positions = [], []
    for number in range(12):
        seen = near if number < 6 else far
        mask = RegionMask.from_full(seen.ids == 1)
        lifted = lift(lifter, frame_at(number / 30, [1], [mask]), seen.depth, seen.to_world)
        measured.append(bool(lifted.measured[0]))
        positions.append(lifted.positions[0, 0])
        assert lifted.rejected[0] == (not lifted.measured[0])
    assert measured == [True] * 6 + [False] * 3 + [True] * 3
    assert abs(positions[8] - positions[5]) < 0.1
    assert positions[-1] - positions[5] == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize('again', ['epoch', 'stamp'])
def test_a_new_epoch_and_a_stamp_that_goes_back_start_afresh(again):
    lifter, scene = world_lifter(), scene_of(BALL)
    for number in range(5):
        seen = render(scene, number / 10)
        lifted = lift(
            lifter, frame_at(number / 10, [1], [RegionMask.from_full(seen.ids == 1)]), seen.depth,
            seen.to_world)
    assert np.linalg.norm(lifted.velocities) > 0.3
    seconds, epoch = (0.5, 2) if again == 'epoch' else (0.2, 1)
    frame = frame_at(seconds, [1], [RegionMask.from_full(seen.ids == 1)], epoch=epoch)
    lifted = lift(lifter, frame, seen.depth, seen.to_world)
    assert lifted.measured[0]
    assert np.all(lifted.velocities == 0)


def test_ended_tracks_are_forgotten():
    lifter = world_lifter()
    seen = render(scene_of(BALL), 0.0)
    mask = RegionMask.from_full(seen.ids == 1)
    lift(lifter, frame_at(0, [1], [mask]), seen.depth, seen.to_world)
    ended = lift(lifter, frame_at(0.1, [1], [RegionMask.empty()], [4]), seen.depth, seen.to_world)
    assert np.isfinite(ended.positions).all()
    after = lift(lifter, frame_at(0.2, [1], [RegionMask.empty()], [3]), seen.depth, seen.to_world)
    assert np.isnan(after.positions).all()


def sizes_and_middles(samples: Samples, frame: InstanceFrame, to_world: Transform):
    lifted = world_lifter().lift(frame, samples, to_world)
    assert lifted.measured.all()
    return lifted.positions[0], lifted.turned.sizes[0]


BOX = Shape('box', (3.0, 0.1, 0.4), (0.6, 0.9, 0.8), 0.5, (0, 0, 0), (1, 2, 3), 'box')


@pytest.mark.parametrize(('width', 'height'), [(80, 60), (320, 240), (160, 120)])
def test_depth_of_another_resolution(width, height):
    scene = scene_of(BOX)
    seen = render(scene, 0.0)
    other = CAMERA.resized(height, width)
    depth = render(replace(scene, camera=other), 0.0).depth
    frame = frame_at(0, [1], [RegionMask.from_full(seen.ids == 1)])
    samples = RegisteredView(CAMERA, other).sample(
        DepthImage(depth), frame, label_map(frame, 2), 4000)
    position, size = sizes_and_middles(samples, frame, seen.to_world)
    exact = lift(world_lifter(), frame, seen.depth, seen.to_world)
    np.testing.assert_allclose(position, exact.positions[0], atol=0.02)
    two_pixels = 2 * 3.0 / min(other.fx, CAMERA.fx)  # of the coarser one
    np.testing.assert_allclose(size, [0.9, 0.6, 0.8], atol=two_pixels)


def test_cropped_depth_that_misses_part_of_the_image():
    seen = render(scene_of(BOX), 0.0)
    crop = replace(CAMERA, width=100, height=90, cx=CAMERA.cx - 30, cy=CAMERA.cy - 20)
    depth = DepthImage(np.ascontiguousarray(seen.depth[20:110, 30:130]))
    frame = frame_at(0, [1], [RegionMask.from_full(seen.ids == 1)])
    samples = RegisteredView(CAMERA, crop).sample(depth, frame, label_map(frame, 2), 4000)
    _, size = sizes_and_middles(samples, frame, seen.to_world)
    np.testing.assert_allclose(size, [0.9, 0.6, 0.8], rtol=0.06)
    covered = RegisteredView(CAMERA, crop).covered(seen.ids == 1)
    np.testing.assert_array_equal(covered, seen.ids[20:110, 30:130] == 1)


def test_unregistered_depth_of_a_camera_beside():
    scene = scene_of(BOX)
    seen = render(scene, 0.0)
    other = Calibration(200, 150, 170.0, 170.0, 99.5, 74.5)
    beside = looking((0.05, -0.15, 1.05), (4.0, -0.15, 0.6))
    depth = DepthImage(render(Scene((BOX,), other, lambda _: beside), 0.0).depth)
    to_image = seen.to_world.inverse().after(beside)
    view = UnregisteredView(CAMERA, other, to_image)
    frame = frame_at(0, [1], [RegionMask.from_full(seen.ids == 1)])
    position, size = sizes_and_middles(
        view.sample(depth, frame, label_map(frame, 2), 4000), frame, seen.to_world)
    exact = lift(world_lifter(), frame, seen.depth, seen.to_world)
    np.testing.assert_allclose(position, exact.positions[0], atol=0.03)
    np.testing.assert_allclose(size, [0.9, 0.6, 0.8], rtol=0.07)
    rest = depth.without(view.covered(grown_mask(frame, [0], 2), depth)).metres()
    true = render(Scene((BOX,), other, lambda _: beside), 0.0).ids == 1
    assert (rest[true] > 0).mean() < 0.03
    assert (rest[~true] > 0).mean() > 0.9


def test_a_cloud_of_a_lidar_that_sees_behind_the_object():
    """Points of the wall behind are seen in the mask too, from the lidar's higher place."""
    seen = render(scene_of(BOX), 0.0)
    high = looking((0.0, 0.0, 1.8), (4.0, 0.0, 0.4))
    other = Calibration(160, 120, 100.0, 100.0, 79.5, 59.5)
    depth = render(Scene((BOX,), other, lambda _: high), 0.0).depth.reshape(-1, 1)
    in_lidar = np.hstack([other.rays * depth, depth])
    cloud = Cloud(in_lidar, np.zeros((len(in_lidar), 12), np.uint8))
    view = CloudView(CAMERA, seen.to_world.inverse().after(high))
    frame = frame_at(0, [1], [RegionMask.from_full(seen.ids == 1)])
    samples = view.sample(cloud, frame, label_map(frame, 2), 4000)
    lifted = world_lifter().lift(frame, samples, seen.to_world)
    assert lifted.measured[0]
    assert np.isnan(lifted.valid_shares[0])
    inside = BOX.center - lifted.positions[0]
    assert np.abs(inside).max() < 0.45
    covered = view.covered(grown_mask(frame, [0], 0), cloud)
    assert 0 < covered.sum() < 0.2 * len(cloud)


def test_the_box_is_turned_as_the_object_is():
    seen = render(scene_of(BOX), 0.0)
    lifted = lift(
        world_lifter(), frame_at(0, [1], [RegionMask.from_full(seen.ids == 1)]), seen.depth,
        seen.to_world)
    np.testing.assert_allclose(lifted.turned.sizes[0], [0.9, 0.6, 0.8], rtol=0.06)
    assert lifted.turned.yaws[0] == pytest.approx(0.5 - np.pi / 2, abs=0.03)
    np.testing.assert_allclose(lifted.turned.centers[0], BOX.center, atol=0.03)
    width = 0.6 * np.sin(0.5) + 0.9 * np.cos(0.5)
    assert lifted.aligned.sizes[0, 1] == pytest.approx(width, rel=0.06)


def test_in_an_optical_frame_the_vertical_axis_is_y():
    seen = render(scene_of(BOX), 0.0)
    frame = frame_at(0, [1], [RegionMask.from_full(seen.ids == 1)])
    lifter = Lifter(SENSOR, Motion(), vertical=1)
    level = looking((0.0, 0.0, 0.4), (4.0, 0.0, 0.4))
    seen = render(Scene((BOX,), CAMERA, lambda _: level), 0.0)
    frame = frame_at(0, [1], [RegionMask.from_full(seen.ids == 1)])
    lifted = lift(lifter, frame, seen.depth, Transform.identity())
    assert lifted.turned.sizes[0, 1] == pytest.approx(0.8, rel=0.05)
    assert lifted.positions[0, 2] == pytest.approx(2.6, abs=0.2)


def test_where_masks_overlap_the_higher_score_counts():
    frame = frame_at(0, [1, 2], [
        RegionMask(10, 10, np.ones((20, 20), bool)), RegionMask(20, 10, np.ones((20, 20), bool))])
    frame = replace(frame, scores=np.array([0.9, 0.4], np.float32))
    labels = label_map(frame, 1)
    assert labels.labels[15, 25] == 1
    assert labels.labels[15, 35] == 2
    assert not labels.core[15, [9, 10, 29, 30, 39]].any()
    assert labels.core[15, [11, 28, 31, 38]].all()


def test_what_is_removed_is_grown_by_a_margin():
    frame = frame_at(0, [1], [RegionMask(10, 10, np.ones((20, 20), bool))])
    mask = grown_mask(frame, [0], 3)
    assert mask.sum() > 26 * 20
    assert mask[20, 7] and not mask[20, 6]
    assert not grown_mask(frame, [], 3).any()


def test_faults_are_what_they_say():
    depth = np.full((100, 100), 3.0, np.float32)
    depth[:, 50:] = 6.0
    bad = with_faults(depth, Faults(), np.random.default_rng(0))
    assert (bad == 0).mean() == pytest.approx(0.2, abs=0.02)
    assert np.std(bad[:, :40][bad[:, :40] > 0]) == pytest.approx(0.018, rel=0.1)
    assert ((bad > 3.2) & (bad < 5.7)).sum() > 20


@pytest.mark.parametrize(('late', 'off_by'), [(0, 0), (1, 1), (-1, -1)])
def test_stamps_that_are_off_by_one_frame_are_found(clips, late, off_by):
    scene, clip = clips[0]
    random, check = np.random.default_rng(0), StampCheck(SENSOR)
    depths = [DepthImage(with_faults(frame.depth, Faults(), random)) for frame in clip]
    view = RegisteredView(scene.camera, scene.camera)
    lifter = world_lifter()
    for number, frame in enumerate(true_instances(clip, len(scene.shapes))):
        at = number - late
        if not 1 <= at < len(depths) - 1:
            continue
        labels = label_map(frame, SENSOR.erosion)
        to_world = clip[number].to_world
        samples = view.sample(depths[at], frame, labels, SENSOR.most_points)
        lifted = lifter.lift(frame, samples, to_world)
        pair = LiftedPair(frame, labels, lifted, 'map', to_world, depths[at], view)
        check.add(pair, depths[at - 1], depths[at + 1])
    assert check.off_by == off_by
