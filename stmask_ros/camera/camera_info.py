# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""CameraInfo from a calibration file, as camera_calibration and camera_info_manager write it."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import yaml
from ament_index_python import PackageNotFoundError, get_package_share_directory
from sensor_msgs.msg import CameraInfo

_MOST_SIDE = 65_535


class CalibrationError(ValueError):
    """A calibration file that cannot be used; the message is for the user."""


def load_camera_info(url: str, camera_name: str = 'camera') -> CameraInfo:
    """
    Return the calibration in a file, without a header.

    url: a path, or as camera_info_manager takes it, file:// or package://PACKAGE/PATH, with
    ${ROS_HOME} and ${NAME} (camera_name) in it. A file without a distortion model means
    plumb_bob. An empty url gives an uncalibrated camera: K is all zeros, as CameraInfo's text has
    it. Raises CalibrationError.
    """
    if not url:
        return CameraInfo()
    path = _path(url, camera_name)
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise CalibrationError(f'camera_info_url: cannot read {path}: {error}') from error
    try:
        return CameraInfo(
            width=_side(content, 'image_width'),
            height=_side(content, 'image_height'),
            distortion_model=str(content.get('distortion_model') or 'plumb_bob'),
            d=_numbers(content, 'distortion_coefficients', None),
            k=_numbers(content, 'camera_matrix', 9),
            r=_numbers(content, 'rectification_matrix', 9),
            p=_numbers(content, 'projection_matrix', 12),
        )
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise CalibrationError(
            f'camera_info_url: {path} is no calibration file: {error!r}') from error


def _path(url: str, camera_name: str) -> Path:
    """Return the file that an URL means; CalibrationError for another kind of URL."""
    home = os.environ.get('ROS_HOME') or str(Path.home() / '.ros')
    text = url.replace('${ROS_HOME}', home).replace('${NAME}', camera_name)
    scheme, separator, rest = text.partition('://')
    if not separator:
        return Path(text).expanduser()
    if scheme == 'file':
        return Path(rest).expanduser()
    if scheme != 'package':
        raise CalibrationError(
            f'camera_info_url: {url}: expected a path, file:// or package://PACKAGE/PATH')
    package, _, inside = rest.partition('/')
    try:
        return Path(get_package_share_directory(package)) / inside
    except (PackageNotFoundError, ValueError) as error:
        raise CalibrationError(
            f"camera_info_url: {url}: there is no package '{package}' here") from error


def _side(content: Any, name: str) -> int:
    """Return a side of the picture [pixel]; ValueError for one that no camera has."""
    value = content[name]
    if isinstance(value, bool) or int(value) != value or not 0 < value <= _MOST_SIDE:
        raise ValueError(f'{name} is {value}, expected 1 to {_MOST_SIDE}')
    return int(value)


def _numbers(content: Any, name: str, count: int | None) -> list[float]:
    numbers = [float(number) for number in content[name]['data']]
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f'{name} has values that are not finite')
    if count is not None and len(numbers) != count:
        raise ValueError(f'{name} has {len(numbers)} values, expected {count}')
    return numbers


def fitted(calibration: CameraInfo, width: int, height: int) -> CameraInfo:
    """
    Return the calibration for pictures of this size [pixel].

    K and P are scaled where the calibration was made at another size. The centre of the top left
    pixel is (0, 0), so that the principal point moves by half a pixel as well.
    """
    info = CameraInfo(
        width=width, height=height, distortion_model=calibration.distortion_model,
        d=calibration.d, k=calibration.k, r=calibration.r, p=calibration.p)
    if calibration.width and calibration.height:
        for row, factor in ((0, width / calibration.width), (1, height / calibration.height)):
            _scale_row(info.k, 3, row, factor)
            _scale_row(info.p, 4, row, factor)
    return info


def _scale_row(matrix: Any, columns: int, row: int, factor: float) -> None:
    for column in range(columns):
        matrix[row * columns + column] *= factor
    matrix[row * columns + 2] += 0.5 * factor - 0.5
