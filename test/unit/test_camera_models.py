# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Camera models: pixels to rays and back, regions of interest, binning, and wrong calibrations."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from depth_messages import camera_info

from stmask_ros.lifting.camera import Calibration, fitted_calibration, read_calibration
from stmask_ros.lifting.errors import LiftingError

K = [300.0, 0.0, 161.5, 0.0, 310.0, 118.0, 0.0, 0.0, 1.0]
MODELS = {
    'none': ('plumb_bob', ()),
    'plumb_bob': ('plumb_bob', (-0.28, 0.09, 0.001, -0.0005, -0.01)),
    'rational_polynomial': (
        'rational_polynomial', (0.4, -0.1, 0.0005, 0.0002, 0.02, 0.7, -0.1, 0.03)),
    'equidistant': ('equidistant', (-0.02, 0.01, -0.004, 0.0006)),
}


def calibration(name: str) -> Calibration:
    model, d = MODELS[name]
    return read_calibration(camera_info(320, 240, K, model, d))


@pytest.mark.parametrize('name', MODELS)
def test_every_pixel_comes_back_from_its_ray(name):
    camera = calibration(name)
    rays = camera.rays
    assert np.isfinite(rays).all()
    points = np.column_stack([rays, np.ones(len(rays))]).astype(np.float32) * 3
    pixels, seen = camera.project(points)
    rows, columns = np.mgrid[:240, :320]
    assert seen.all()
    assert np.abs(pixels - np.stack([columns, rows], axis=-1).reshape(-1, 2)).max() < 0.05


def test_a_ray_is_where_opencv_projects_it():
    model, d = MODELS['plumb_bob']
    camera = read_calibration(camera_info(320, 240, K, model, d))
    point = np.array([[0.4, -0.3, 2.0]])
    pixel, _ = cv2.projectPoints(
        point, np.zeros(3), np.zeros(3), np.array(K).reshape(3, 3), np.array(d))
    found = camera.rays_of(pixel.reshape(1, 2))
    np.testing.assert_allclose(found, point[:, :2] / 2, atol=1e-5)


def test_equidistant_angles_grow_with_the_distance_from_the_middle():
    camera = read_calibration(camera_info(320, 240, K, 'equidistant', (0.0, 0.0, 0.0, 1e-12)))
    found = camera.rays_of(np.array([[161.5 + 150, 118.0]]))
    np.testing.assert_allclose(found, [[np.tan(150 / 300), 0]], atol=1e-5)


@pytest.mark.parametrize('name', ['plumb_bob', 'rational_polynomial', 'equidistant'])
def test_what_is_behind_or_far_beside_is_not_seen(name):
    _, seen = calibration(name).project(np.array(
        [[0, 0, -1], [0, 0, 0], [30, 0, 1], [0, -50, 1], [np.nan, 0, 1], [0, 0, 1]], np.float32))
    assert seen.tolist() == [False, False, False, False, False, True]


def test_a_region_of_interest_and_binning_see_the_same_rays():
    model, d = MODELS['plumb_bob']
    full = read_calibration(camera_info(320, 240, K, model, d))
    part = read_calibration(camera_info(320, 240, K, model, d, (40, 20, 200, 160), (2, 2)))
    assert part.size == (80, 100)
    # The middle of two by two pixels.
    corner = full.rays_of(np.array([[40.5, 20.5], [40.5 + 198, 20.5 + 158]]))
    np.testing.assert_allclose(part.rays[[0, -1]], corner, atol=1e-5)


def test_another_resolution_sees_the_same_edges():
    full = calibration('plumb_bob')
    half = fitted_calibration(full, 120, 160)
    edges = np.array([[-0.5, -0.5]])
    np.testing.assert_allclose(half.rays_of(edges), full.rays_of(edges), atol=1e-5)
    assert fitted_calibration(full, 240, 320) is full


def test_rectified_images_have_no_distortion():
    model, d = MODELS['plumb_bob']
    info = camera_info(320, 240, K, model, d)
    info.p[0] = 250.0
    camera = read_calibration(info, rectified=True)
    assert (camera.fx, camera.distortion) == (250.0, ())


@pytest.mark.parametrize(('info', 'reason'), [
    (camera_info(320, 240, [0.0] * 9), 'no calibration'),
    (camera_info(320, 240, [0.0, *K[1:]]), 'calibration'),
    (camera_info(320, 240, [-300.0, *K[1:]]), 'calibration'),
    (camera_info(320, 240, [np.nan, *K[1:]]), 'calibration'),
    (camera_info(0, 240, K), 'calibration'),
    (camera_info(320, 240, K, 'fisheye_of_mars', (1.0,)), 'calibration'),
    (camera_info(320, 240, K, 'plumb_bob', (1.0, 2.0)), 'calibration'),
    (camera_info(320, 240, K, roi=(300, 0, 100, 100)), 'calibration'),
    (camera_info(320, 240, K, binning=(1000, 1000)), 'calibration'),
])
def test_a_wrong_calibration_is_named(info, reason):
    with pytest.raises(LiftingError) as caught:
        read_calibration(info)
    assert caught.value.reason == reason


def test_a_calibration_of_another_shape_is_refused():
    with pytest.raises(LiftingError, match='expected that size') as caught:
        fitted_calibration(calibration('none'), 480, 848)
    assert caught.value.reason == 'calibration size'
