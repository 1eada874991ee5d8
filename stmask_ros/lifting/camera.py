# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Camera models: from pixels to rays and back, through OpenCV.

The centre of the top left pixel is (0, 0). Frames are optical ones: x right, y down, z forward.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from stmask_ros.lifting.errors import LiftingError

Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

# Numbers of distortion coefficients that sensor_msgs/distortion_models and OpenCV have.
_COEFFICIENTS = {
    'plumb_bob': (4, 5), 'rational_polynomial': (8, 12, 14), 'equidistant': (4,), '': (0,),
}
_PRECISE = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-7)

# Focal lengths are at least so long [pixel], and no number of a calibration is larger.
_SHORTEST, _LARGEST = 1.0, 1e7
# Nothing nearer to the plane of the camera is projected [m].
_NEAREST = 1e-3
# A ray is at most so far from the optical axis (tangent of the angle) and comes back to its pixel.
_WIDEST = 20.0
_ROUND_TRIP = 0.5


@dataclass(frozen=True)
class Calibration:
    """
    A camera as its images are, after region of interest and binning.

    width, height: of the images [pixel]. fx, fy, cx, cy: focal lengths and principal point
    [pixel]. model: plumb_bob, rational_polynomial or equidistant; '' without distortion.
    distortion: its coefficients.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    model: str = ''
    distortion: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Raise LiftingError if no camera is like this."""
        if not (0 < self.width <= 1 << 15 and 0 < self.height <= 1 << 15):
            raise LiftingError('calibration', (
                f'the calibration is for images of {self.width}x{self.height}: expected 1 to '
                f'{1 << 15} pixels a side'))
        numbers = (self.fx, self.fy, self.cx, self.cy, *self.distortion)
        sane = all(math.isfinite(number) and abs(number) < _LARGEST for number in numbers)
        if not sane or min(self.fx, self.fy) < _SHORTEST:
            raise LiftingError('calibration', (
                f'focal lengths {self.fx}, {self.fy}, principal point {self.cx}, {self.cy}, '
                f'distortion {self.distortion}: expected numbers below '
                f'{_LARGEST:.0e}, focal lengths of {_SHORTEST} and more'))
        allowed = _COEFFICIENTS.get(self.model)
        if allowed is None or len(self.distortion) not in allowed:
            raise LiftingError('calibration', (
                f"distortion model '{self.model[:40]}' with {len(self.distortion)} coefficients: "
                'expected plumb_bob with 4 or 5, rational_polynomial with 8, 12 or 14, or '
                'equidistant with 4'))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images [pixel]."""
        return self.height, self.width

    @cached_property
    def rays(self) -> Float32Array:
        """float32 [height * width, 2], x / z and y / z of each pixel; NaN where it sees none."""
        rows, columns = np.mgrid[:self.height, :self.width]
        pixels = np.stack([columns, rows], axis=-1).reshape(-1, 2)
        return self.rays_of(pixels)

    def rays_of(self, pixels: npt.NDArray[Any]) -> Float32Array:
        """Return x / z and y / z, float32 [N, 2], of pixels [N, 2] (column, row)."""
        points = np.asarray(pixels, np.float64)
        straight = (points - (self.cx, self.cy)) / (self.fx, self.fy)
        if not any(self.distortion):
            return straight.astype(np.float32)
        undistort = _undistort_equidistant if self.model == 'equidistant' else _undistort
        rays = undistort(points, self._matrix, np.array(self.distortion))
        rays[~self._seen(rays, points)] = np.nan
        return rays.astype(np.float32)

    def project(self, points: Float32Array) -> tuple[Float32Array, BoolArray]:
        """
        Return where points [N, 3] in the camera's frame [m] are seen.

        Returns pixels float32 [N, 2] (column, row), and bool [N], whether a point is in view.
        """
        if len(points) == 0:
            return np.zeros((0, 2), np.float32), np.zeros(0, bool)
        z = points[:, 2]
        with np.errstate(all='ignore'):
            rays = (points[:, :2].T / z).T
            pixels = self._pixels(rays)
            x, y = pixels.T
            seen = (z > _NEAREST) & (x > -0.5) & (x < self.width - 0.5)
            seen &= (y > -0.5) & (y < self.height - 0.5)
        if any(self.distortion):
            # Far outside of what the polynomials were fitted to, they lead back into the image.
            corner = np.nanmax(np.abs(self._border), axis=0) * 1.05
            seen &= (np.abs(rays) <= corner).all(axis=1)
        return pixels, seen

    def resized(self, height: int, width: int) -> Calibration:
        """Return the calibration of the same view with another resolution [pixel]."""
        across, down = width / self.width, height / self.height
        return Calibration(
            width, height, self.fx * across, self.fy * down,
            (self.cx + 0.5) * across - 0.5, (self.cy + 0.5) * down - 0.5,
            self.model, self.distortion)

    @property
    def _matrix(self) -> npt.NDArray[np.float64]:
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1.0]])

    @cached_property
    def _border(self) -> Float32Array:
        """Rays of the pixels at the edges of the image."""
        rows, columns = np.linspace(0, self.height - 1, 40), np.linspace(0, self.width - 1, 40)
        pixels = [np.stack(np.broadcast_arrays(x, y), axis=-1) for x, y in (
            (columns, 0.0), (columns, self.height - 1.0), (0.0, rows), (self.width - 1.0, rows))]
        border = self.rays_of(np.concatenate(pixels))
        seen = border[np.isfinite(border).all(axis=1)]
        return seen if len(seen) else np.full((1, 2), _WIDEST, np.float32)

    def _pixels(self, rays: npt.NDArray[Any]) -> Float32Array:
        if not any(self.distortion):
            columns, rows = rays.T
            return np.stack([columns * self.fx + self.cx, rows * self.fy + self.cy]).astype(
                np.float32, copy=False).T
        finite = np.where(np.isfinite(rays), rays, 0).clip(-_WIDEST, _WIDEST)
        spread = np.array(self.distortion)
        if self.model == 'equidistant':
            pixels = cv2.fisheye.distortPoints(
                finite.astype(np.float64)[:, None], self._matrix, spread)
        else:
            homogeneous = np.column_stack([finite, np.ones(len(finite))]).astype(np.float64)
            zero = np.zeros(3)
            pixels, _ = cv2.projectPoints(homogeneous, zero, zero, self._matrix, spread)
        return np.asarray(pixels, np.float32).reshape(-1, 2)

    def _seen(self, rays: npt.NDArray[Any], pixels: npt.NDArray[Any]) -> BoolArray:
        """Say which rays the model leads back to their pixels."""
        with np.errstate(all='ignore'):
            near = (np.abs(rays) < _WIDEST).all(axis=1)
            back = np.abs(self._pixels(rays) - pixels).max(axis=1) < _ROUND_TRIP
        return np.asarray(near & back)


def _undistort(
    pixels: npt.NDArray[Any], matrix: npt.NDArray[Any], distortion: npt.NDArray[Any]
) -> npt.NDArray[np.float64]:
    rays = cv2.undistortPoints(pixels[:, None], matrix, distortion, criteria=_PRECISE)
    return np.asarray(rays, np.float64).reshape(-1, 2)


def _undistort_equidistant(
    pixels: npt.NDArray[Any], matrix: npt.NDArray[Any], distortion: npt.NDArray[Any]
) -> npt.NDArray[np.float64]:
    rays = cv2.fisheye.undistortPoints(pixels[:, None], matrix, distortion, criteria=_PRECISE)
    return np.asarray(rays, np.float64).reshape(-1, 2)


def read_calibration(info: Any, rectified: bool = False) -> Calibration:
    """
    Return the calibration in a sensor_msgs/CameraInfo, with its region of interest and binning.

    rectified: the images are rectified, so that the left part of P holds and no distortion; if
    not, K and D. Raises LiftingError if it holds none.
    """
    matrix = [float(value) for value in (info.p if rectified else info.k)]
    columns = 4 if rectified else 3
    if len(matrix) != columns * 3 or not any(matrix):
        raise LiftingError('no calibration', (
            'the camera_info says that the camera is not calibrated: its '
            f'{"P" if rectified else "K"} is empty'))
    distortion = () if rectified else tuple(float(value) for value in info.d)
    model = str(info.distortion_model) if any(distortion) else ''
    if not model:
        distortion = ()
    across, down = max(int(info.binning_x), 1), max(int(info.binning_y), 1)
    left, top, width, height = _region(info)
    return Calibration(
        width // across, height // down, matrix[0] / across, matrix[columns + 1] / down,
        _binned(matrix[2] - left, across), _binned(matrix[columns + 2] - top, down),
        model, distortion)


def _region(info: Any) -> tuple[int, int, int, int]:
    """Return left, top, width and height of what is read out; all of the sensor by default."""
    region = info.roi
    width, height = int(region.width) or int(info.width), int(region.height) or int(info.height)
    left, top = int(region.x_offset), int(region.y_offset)
    if left + width > int(info.width) or top + height > int(info.height):
        raise LiftingError('calibration', (
            f'the region of interest, {width}x{height} at column {left}, row {top}, is not inside '
            f'of {info.width}x{info.height} pixels'))
    return left, top, width, height


def _binned(position: float, factor: int) -> float:
    return (position + 0.5) / factor - 0.5


def fitted_calibration(calibration: Calibration, height: int, width: int) -> Calibration:
    """Return a calibration for images of this size; LiftingError if it is of another shape."""
    if calibration.size == (height, width):
        return calibration
    if abs(width * calibration.height - height * calibration.width) > max(height, width):
        raise LiftingError('calibration size', (
            f'the image is {width}x{height}, the calibration is for '
            f'{calibration.width}x{calibration.height}: expected that size or one of its shape'))
    return calibration.resized(height, width)
