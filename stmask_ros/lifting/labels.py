# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Which instance each pixel of an image belongs to, and which pixels are well inside of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from stmask_ros.lifting.grouping import Grouping
from stmask_ros.lifting.instances import InstanceFrame
from stmask_ros.masks import RegionMask

BoolArray = npt.NDArray[np.bool_]
Int64Array = npt.NDArray[np.int64]

# Multiples of the golden ratio, without their whole parts, keep clear of each other; in 2^-16.
_GOLDEN, _BITS = 40503, 16


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
    Some pixels of each instance.

    pixels: int64 [M], row by row through the image. grouping: which instance they are of.
    strides: int64 [N], of how many pixels of an instance one is here.
    """

    pixels: Int64Array
    grouping: Grouping
    strides: Int64Array


def label_map(frame: InstanceFrame, erosion: int) -> LabelMap:
    """Paint the masks of a frame; erosion: how far the neighbours of a core pixel are [pixel]."""
    kind = np.uint8 if len(frame) < 255 else np.uint16
    labels = np.zeros((frame.height, frame.width), kind)
    # Indices of all masks' pixels in one array would take ten times as long as these few slices.
    for index in np.argsort(frame.scores, kind='stable').tolist():
        mask = frame.masks[index]
        np.copyto(labels[_window(mask)], index + 1, where=mask.pixels)
    return LabelMap(labels, _core(labels, frame.masks, erosion))


def _window(mask: RegionMask) -> tuple[slice, slice]:
    """Return the rows and the columns of a mask."""
    return (slice(mask.y_offset, mask.y_offset + mask.height),
            slice(mask.x_offset, mask.x_offset + mask.width))


def _core(labels: npt.NDArray[Any], masks: Sequence[RegionMask], erosion: int) -> BoolArray:
    if erosion == 0:
        return labels > 0
    core = np.zeros(labels.shape, bool)
    windows = [_window(mask) for mask in masks if mask.pixels.size]
    if windows:
        top = max(min(rows.start for rows, _ in windows) - erosion, 0)
        left = max(min(columns.start for _, columns in windows) - erosion, 0)
        bottom = max(rows.stop for rows, _ in windows) + erosion
        right = max(columns.stop for _, columns in windows) + erosion
        near, square = labels[top:bottom, left:right], np.ones(2 * [2 * erosion + 1], np.uint8)
        least, most = cv2.erode(near, square), cv2.dilate(near, square)
        np.logical_and(least > 0, least == most, out=core[top:bottom, left:right])
    return core


def inside_pixels(frame: InstanceFrame, labels: LabelMap, most: int) -> InsidePixels:
    """Return the pixels of each instance; of one with more than `most`, about so many."""
    # Where masks overlap, a pixel belongs to one of them alone.
    visible = [
        labels.labels[_window(mask)] == index for index, mask in enumerate(frame.masks, 1)]
    left, top, width, height = np.array([
        (mask.x_offset, mask.y_offset, mask.width, mask.height) for mask in frame.masks
    ], np.int64).reshape(-1, 4).T
    windows = Grouping(width * height)
    inside = np.concatenate(
        [np.zeros(0, bool), *(pixels.ravel() for pixels in visible)]).nonzero()[0]
    areas = windows.chosen(inside)
    strides = np.maximum(1, -(-areas.sizes // most))
    grouping, places = _scattered(areas.sizes, strides)
    within = inside.take(places + grouping.spread(areas.starts)) - grouping.spread(windows.starts)
    # Half a pixel keeps quotients clear of whole numbers; whole numbers divide slowly.
    rows = ((within + 0.5) * grouping.spread(1 / np.maximum(width, 1))).astype(np.int64)
    pixels = within + rows * grouping.spread(frame.width - width)
    return InsidePixels(
        pixels + grouping.spread(top * frame.width + left), grouping, strides)


def _scattered(sizes: Int64Array, strides: Int64Array) -> tuple[Grouping, Int64Array]:
    """
    Return one of every strides[i] indices below sizes[i], and which i each is of.

    A fixed step that divides the width of a mask would always meet the same columns, and never
    the outermost.
    """
    grouping = Grouping(sizes // strides)
    most = int(grouping.sizes.max(initial=0)).bit_length()
    blocks = np.concatenate(
        [np.zeros(0, np.int64), *(_blocks(most)[:count] for count in grouping.sizes.tolist())])
    return grouping, blocks * grouping.spread(strides) >> _BITS


@lru_cache(maxsize=4)
def _blocks(bits: int) -> Int64Array:
    """Return an index in each of 2^bits blocks, for blocks of length 1; in 2^-16."""
    blocks = np.arange(1 << bits)
    return (blocks << _BITS) + (blocks * _GOLDEN & (1 << _BITS) - 1)


def grown_mask(frame: InstanceFrame, chosen: Sequence[int], margin: int) -> BoolArray:
    """Return the pixels of the chosen instances, and those within a margin [pixel] of them."""
    mask = np.zeros((frame.height, frame.width), np.uint8)
    for index in chosen:
        mask[_window(frame.masks[index])] |= frame.masks[index].pixels
    if margin == 0:
        return mask.astype(bool)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
    return np.asarray(cv2.dilate(mask, disc), bool)
