# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Mask pictures: which object each pixel belongs to, in every usual kind of file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

from stmask_ros.evaluation.dataset import DatasetError

Labels = npt.NDArray[Any]

MASK_SUFFIXES = ('.png', '.bmp', '.tif', '.tiff', '.gif', '.webp')
# Of KITTI-MOTS: pixels that no object is to be blamed for.
_IGNORED, _FIRST_OF_KITTI = 10_000, 1000
_SIXTEEN_BITS = ('I;16', 'I;16B', 'I;16L', 'I')
# More objects in one picture of 8 bits a channel are the grey of soft edges.
_MOST_OBJECTS = 100
# Often the border or what is not to be judged, where the objects count from 1.
_VOID, _HIGHEST_COUNT = 255, 100


def read_mask_picture(path: Path) -> Labels:
    """
    Return the object of every pixel, [H, W] of whole numbers, 0 for none.

    Grey of 1, 8 or 16 bits and palettes give the number; in colours each is an object, of number
    red + 256 green + 65536 blue, and black or transparent is none. The value 10000 of KITTI-MOTS
    is none. Raises DatasetError for what is no picture, or may mean one thing or another.
    """
    try:
        with PIL.Image.open(path) as picture:
            labels = _labels(picture)
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        raise DatasetError(f'{path}: not a readable mask picture: {error}') from error
    return labels


def _labels(picture: PIL.Image.Image) -> Labels:
    """Return the numbers of an open picture; ValueError if they are ambiguous."""
    mode = picture.mode
    if mode in _SIXTEEN_BITS:
        return _of_sixteen_bits(np.asarray(picture))
    if mode in ('1', 'L', 'P'):
        labels = np.asarray(picture.convert('L') if mode == '1' else picture).astype(np.uint8)
    elif mode in ('RGB', 'RGBA', 'LA', 'PA'):
        labels = _of_colours(np.asarray(picture.convert('RGBA')))
    else:
        raise ValueError(f'its pixels are of the kind {mode}: expected grey, a palette or RGB')
    _check(np.unique(labels), grey=mode in ('L', 'P'))
    return labels


def _of_sixteen_bits(values: Labels) -> Labels:
    if values.size and not 0 <= values.min() <= values.max() <= np.iinfo(np.uint16).max:
        raise ValueError(f'its values are {values.min()} to {values.max()}: expected 0 to 65535')
    labels = values.astype(np.uint16)
    present = np.unique(labels[(labels > 0) & (labels != _IGNORED)])
    if (present >= _FIRST_OF_KITTI).all():
        labels[labels == _IGNORED] = 0
    return labels


def _of_colours(pixels: Labels) -> Labels:
    """pixels: uint8 RGBA [H, W, 4]."""
    alpha = pixels[..., 3]
    if not ((alpha == 0) | (alpha == 255)).all():
        raise ValueError('its pixels are half transparent: expected none or all of it')
    parts = pixels[..., :3].astype(np.int32)
    labels = parts[..., 0] + (parts[..., 1] << 8) + (parts[..., 2] << 16)
    return np.where(alpha > 0, labels, 0)


def _check(values: Labels, *, grey: bool) -> None:
    """Raise ValueError if some values of a picture of 8 bits a channel are hardly objects."""
    objects = values[values > 0]
    if len(objects) > _MOST_OBJECTS:
        raise ValueError(
            f'it has {len(objects)} different values: expected one for each object, without the '
            'soft edges that JPEG and resizing make')
    others = objects[objects < _VOID]
    if grey and len(others) < len(objects) and others.size and others.max() <= _HIGHEST_COUNT:
        raise ValueError(
            f'it has the value 255 beside {others.tolist()[:6]}: an object, or what is not to be '
            'judged? Replace it by 0 or by another number')
