"""CameraInfo from a calibration file, as camera_calibration and camera_info_manager write it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from sensor_msgs.msg import CameraInfo


class CalibrationError(ValueError):
    """A calibration file that cannot be used; the message is for the user."""


def load_camera_info(url: str) -> CameraInfo:
    """
    Return the calibration in a file (a path or a file:// URL), without a header.

    An empty url gives an uncalibrated camera: K is all zeros, as CameraInfo's text has it.
    Raises CalibrationError.
    """
    if not url:
        return CameraInfo()
    path = Path(url.removeprefix('file://')).expanduser()
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CalibrationError(f'camera_info_url: cannot read {path}: {error}') from error
    try:
        return CameraInfo(
            width=int(content['image_width']),
            height=int(content['image_height']),
            distortion_model=str(content['distortion_model']),
            d=_numbers(content, 'distortion_coefficients', None),
            k=_numbers(content, 'camera_matrix', 9),
            r=_numbers(content, 'rectification_matrix', 9),
            p=_numbers(content, 'projection_matrix', 12),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CalibrationError(
            f'camera_info_url: {path} is no calibration file: {error!r}') from error


def _numbers(content: Any, name: str, count: int | None) -> list[float]:
    numbers = [float(number) for number in content[name]['data']]
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
