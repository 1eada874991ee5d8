# SPDX-License-Identifier: Apache-2.0
"""Which instance each pixel of an image belongs to, and which pixels are well inside of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from stmask_ros.lifting.instances import InstanceFrame

BoolArray = npt.NDArray[np.bool_]
Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LabelMap:
    """
    The instances of an image, one a pixel: where masks overlap, that of the higher score.

    labels: uint8 or uint16 [height, width], 0 for none, i + 1 for instance i.
    core: bool [height, width], pixels whose neighbours all belong to the same instance.
    """

    labels: npt.NDArray[Any]
    core: BoolArray


@dataclass(frozen=True)
class InsidePixels:
    """
    Some pixels of each instance, ordered by instance.

    pixels: int64 [M], row by row through the image. owners: int64 [M], index of the instance.
    strides: int64 [N], of how many pixels of an instance one is here.
    """

    pixels: Int64Array
    owners: Int64Array
    strides: Int64Array


def label_map(frame: InstanceFrame, erosion: int) -> LabelMap:
    """Paint the masks of a frame; erosion: how far the neighbours of a core pixel are [pixel]."""
    kind = np.uint8 if len(frame) < 255 else np.uint16
    labels = np.zeros((frame.height, frame.width), kind)
    for index in np.argsort(frame.scores, kind='stable').tolist():
        mask = frame.masks[index]
        rows = slice(mask.y_offset, mask.y_offset + mask.height)
        columns = slice(mask.x_offset, mask.x_offset + mask.width)
        labels[rows, columns][mask.pixels] = index + 1
    return LabelMap(labels, _core(labels, erosion))


def _core(labels: npt.NDArray[Any], erosion: int) -> BoolArray:
    if erosion == 0:
        return labels > 0
    square = np.ones((2 * erosion + 1, 2 * erosion + 1), np.uint8)
    least = cv2.erode(labels, square)
    return np.asarray((least > 0) & (least == cv2.dilate(labels, square)))


def inside_pixels(frame: InstanceFrame, labels: LabelMap, most: int) -> InsidePixels:
    """Return the pixels of each instance; of one with more than `most`, every second or so."""
    found, strides = [], []
    for mask in frame.masks:
        inside = np.flatnonzero(mask.pixels)
        strides.append(max(1, -(-inside.size // most)))
        rows, columns = np.divmod(inside[::strides[-1]], max(mask.width, 1))
        found.append((rows + mask.y_offset) * frame.width + columns + mask.x_offset)
    owners = np.repeat(np.arange(len(frame)), [pixels.size for pixels in found])
    pixels = np.concatenate([np.zeros(0, np.int64), *found])
    # Where masks overlap, a pixel belongs to one of them alone.
    own = labels.labels.ravel().take(pixels) == owners + 1
    return InsidePixels(pixels[own], owners[own], np.array(strides, np.int64))


def grown_mask(frame: InstanceFrame, chosen: Sequence[int], margin: int) -> BoolArray:
    """Return the pixels of the chosen instances, and those within a margin [pixel] of them."""
    mask = np.zeros((frame.height, frame.width), np.uint8)
    for index in chosen:
        region = frame.masks[index]
        rows = slice(region.y_offset, region.y_offset + region.height)
        columns = slice(region.x_offset, region.x_offset + region.width)
        mask[rows, columns] |= region.pixels
    if margin == 0:
        return mask.astype(bool)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
    return np.asarray(cv2.dilate(mask, disc), bool)
