# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Placing pictures on a canvas, with exact masks of what stays visible."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from stmask_ros.training.frames import BoolArray, Int64Array, UInt8Array

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

# Longest streak that motion blur makes [pixel].
LONGEST_BLUR = 31


def object_transform(
    shape: tuple[int, ...], side: float, angle: float, flipped: bool, center: Float64Array
) -> Float64Array:
    """
    Return the affine map [2, 3] of a cutout of shape (height, width) to the frame.

    side: of its longer side in the frame [pixel]. angle [degree]. center: (x, y) [pixel].
    """
    scale = side / max(shape)
    turn = np.deg2rad(angle)
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    if flipped:
        linear[:, 0] *= -1
    middle = (np.array([shape[1], shape[0]]) - 1) / 2
    return np.column_stack((linear, center - 0.5 - linear @ middle))


def background_transform(
    shape: tuple[int, ...], frame: tuple[int, int], pan: Float64Array, zoom: Float64Array
) -> Float64Array:
    """
    Return the affine map [2, 3] of a background of shape (height, width) that fills the frame.

    frame: (height, width). pan: (x, y), 0 to 1, of what the frame does not show. zoom: [1], >= 1.
    """
    scale = float(zoom[0]) * max(frame[0] / shape[0], frame[1] / shape[1])
    spare = scale * np.array([shape[1], shape[0]]) - (frame[1], frame[0])
    shift = -pan * spare + (scale - 1) / 2
    return np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])


def blur_kernel(motion: Float64Array) -> Float32Array | None:
    """Return the streak that a motion (x, y) [pixel] leaves of a point; None below a pixel."""
    length = min(int(np.hypot(*motion)) + 1, LONGEST_BLUR)
    if length < 2:
        return None
    size = length + 1 - length % 2
    kernel = np.zeros((size, size), np.float32)
    reach = motion / np.hypot(*motion) * (length - 1) / 2
    start, stop = (tuple((size // 2 + s * reach).round().astype(int).tolist()) for s in (-1, 1))
    cv2.line(kernel, start, stop, 1.0)
    streak: Float32Array = kernel / kernel.sum()
    return streak


class Canvas:
    """A frame that is painted from the farthest to the nearest; pixels: float32 [H, W, 3]."""

    def __init__(self, height: int, width: int) -> None:
        """Start black and without objects."""
        self.pixels: Float32Array = np.zeros((height, width, 3), np.float32)
        self.masks: list[BoolArray] = []

    def fill(
        self, pixels: UInt8Array, masks: BoolArray, transform: Float64Array,
        blur: Float32Array | None,
    ) -> None:
        """Paint a background, uint8 BGR [h, w, 3], and note its objects, bool [N, h, w]."""
        height, width = self.pixels.shape[:2]
        pixels, transform = _shrunk(pixels, transform)
        painted = cv2.warpAffine(pixels, transform, (width, height), flags=cv2.INTER_LINEAR,
                                 borderMode=cv2.BORDER_REFLECT)
        if blur is not None:
            painted = cv2.filter2D(painted, -1, blur, borderType=cv2.BORDER_REFLECT)
        self.pixels = painted.astype(np.float32)
        for mask in masks:
            small, small_transform = _shrunk(mask.astype(np.uint8) * 255, transform)
            warped = cv2.warpAffine(small, small_transform, (width, height))
            self._note(warped > 127)

    def add(
        self, pixels: UInt8Array, mask: BoolArray, transform: Float64Array, gain: float,
        blur: Float32Array | None,
    ) -> None:
        """Paint an object, uint8 BGR [h, w, 3] where its mask [h, w] is, over what is there."""
        visible: BoolArray = np.zeros(self.pixels.shape[:2], np.bool_)
        layer = np.dstack((pixels * mask[..., None], mask.astype(np.uint8) * 255))
        layer, transform = _shrunk(layer, transform)
        margin = 0 if blur is None else len(blur)
        window = _window(layer.shape, transform, self.pixels.shape, margin)
        if window is not None:
            x_min, y_min, x_max, y_max = window
            transform = transform - [[0, 0, x_min], [0, 0, y_min]]
            size = (x_max - x_min, y_max - y_min)
            warped = np.asarray(cv2.warpAffine(layer, transform, size), np.uint8)
            area = np.s_[y_min:y_max, x_min:x_max]
            visible[area] = warped[..., 3] > 127
            self.pixels[area] = _over(self.pixels[area], warped, gain, blur)
        self._note(visible)

    def areas(self) -> Int64Array:
        """Return how many pixels of each object are visible, int64 [N]."""
        return np.array([np.count_nonzero(mask) for mask in self.masks], np.int64)

    def _note(self, mask: BoolArray) -> None:
        # What is nearer hides all that was there before.
        for hidden in self.masks:
            np.logical_and(hidden, ~mask, out=hidden)
        self.masks.append(mask)


def _over(
    below: Float32Array, layer: UInt8Array, gain: float, blur: Float32Array | None
) -> Float32Array:
    # layer: BGR, already multiplied by its fourth channel, the opacity.
    above = layer.astype(np.float32)
    if blur is not None:
        above = np.asarray(
            cv2.filter2D(above, -1, blur, borderType=cv2.BORDER_CONSTANT), np.float32
        )
    opacity = above[..., 3:] / np.float32(255)
    painted: Float32Array = below * (1 - opacity) + above[..., :3] * np.float32(gain)
    return painted


def _shrunk(
    picture: UInt8Array, transform: Float64Array
) -> tuple[UInt8Array, Float64Array]:
    """Shrink a picture that is to become less than half as large, so that it does not alias."""
    scale = np.hypot(*transform[:, 0])
    factor = min(1.0, 1.5 * scale)
    if factor > 0.75:
        return picture, transform
    height, width = picture.shape[:2]
    size = (max(round(width * factor), 1), max(round(height * factor), 1))
    back = np.diag([width / size[0], height / size[1]])
    shift = transform[:, :2] @ ((np.diag(back) - 1) / 2)
    small = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    return small, np.column_stack((transform[:, :2] @ back, transform[:, 2] + shift))


def _window(
    layer: tuple[int, ...], transform: Float64Array, canvas: tuple[int, ...], margin: int
) -> tuple[int, int, int, int] | None:
    """Return (x_min, y_min, x_max, y_max) that a layer can reach, or None outside."""
    height, width = layer[:2]
    corners = np.array([[-1, -1, 1], [width, -1, 1], [-1, height, 1], [width, height, 1]])
    reached = corners @ transform.T
    low = np.maximum(np.floor(reached.min(0)) - margin, 0).astype(int)
    high = np.minimum(np.ceil(reached.max(0)) + margin + 1, [canvas[1], canvas[0]]).astype(int)
    if (low >= high).any():
        return None
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])
