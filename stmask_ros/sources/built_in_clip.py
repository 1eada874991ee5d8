# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The built-in clip: real photographs that move, so that a machine without a camera has pictures.

A cat and an astronaut cross each other in front of a coffee cup, while the view pans and zooms.
The photographs come with scikit-image, inside its package (nothing is downloaded):

- astronaut: Eileen Collins, NASA Great Images; public domain.
- chelsea: Chelsea the cat, by Stefan van der Walt; CC0.
- coffee: courtesy of Pikolo Espresso Bar, by Rachel Michetti; CC0.

Needs no ROS.
"""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

Bgr = npt.NDArray[np.uint8]
Bgra = npt.NDArray[np.uint8]
Affine = npt.NDArray[np.float64]

# Outlines in pixels of the photographs: x and y, one point after the other. Both end at the
# photograph's lower edge, which never comes into view.
_ASTRONAUT_OUTLINE = (
    201, 23, 189, 35, 174, 43, 158, 58, 155, 68, 158, 112, 163, 119, 180, 128, 184, 146, 176, 150,
    158, 151, 141, 159, 129, 172, 126, 201, 113, 203, 90, 227, 76, 235, 65, 246, 46, 278, 40, 293,
    39, 305, 26, 342, 25, 373, 19, 390, 20, 419, 24, 432, 23, 460, 25, 478, 29, 493, 37, 502,
    39, 511, 496, 511, 496, 505, 491, 502, 489, 497, 490, 455, 495, 454, 495, 435, 490, 413,
    485, 399, 478, 384, 455, 361, 436, 351, 419, 345, 406, 344, 364, 348, 360, 344, 356, 302,
    340, 262, 319, 243, 303, 233, 297, 212, 281, 191, 258, 175, 254, 160, 262, 140, 278, 128,
    294, 111, 299, 92, 296, 58, 288, 43, 276, 31, 248, 18, 227, 16,
)
_CAT_OUTLINE = (
    44, 8, 35, 36, 36, 60, 32, 75, 32, 110, 17, 125, 12, 139, 12, 170, 22, 215, 40, 260, 62, 299,
    299, 299, 299, 277, 302, 263, 308, 251, 309, 242, 314, 240, 314, 222, 330, 204, 341, 185,
    342, 164, 360, 145, 360, 113, 354, 104, 354, 76, 371, 55, 375, 28, 386, 14, 388, 5, 378, 1,
    330, 1, 312, 7, 287, 18, 284, 22, 260, 24, 203, 11, 131, 9, 116, 6, 100, 1, 62, 1,
)


class BuiltInClip:
    """A clip of 8 seconds whose end leads on to its start."""

    width = 640
    height = 360
    rate = 30.0
    frame_count = 240

    def __init__(self) -> None:
        """Load the photographs; raises OSError if scikit-image or one of them is missing."""
        self._table = _photograph('coffee.png')
        self._astronaut = _cut_out(_photograph('astronaut.png'), _ASTRONAUT_OUTLINE, 0.66)
        self._cat = _cut_out(_photograph('chelsea.png'), _CAT_OUTLINE, 0.62)

    def cutouts(self) -> dict[str, Bgra]:
        """Return 'astronaut' and 'cat', uint8 [height, width, 4], colours times alpha."""
        return {'astronaut': self._astronaut, 'cat': self._cat}

    def frame(self, seconds: float) -> Bgr:
        """Return the picture at this time, uint8 BGR [360, 640, 3]; the same for the same time."""
        turn = 2 * math.pi * seconds * self.rate / self.frame_count
        view = self._background(turn)
        self._place(
            view, self._astronaut, 320 - 330 * math.cos(turn), 1 - 0.12 * math.sin(turn),
            0.03 * math.sin(3 * turn), 4 + 4 * math.sin(5 * turn))
        self._place(
            view, self._cat, 330 + 300 * math.cos(turn + 0.25), 1 + 0.15 * math.sin(turn),
            0.06 * math.sin(2 * turn), 8 + 6 * math.sin(4 * turn))
        return view

    def _background(self, turn: float) -> Bgr:
        """Return the table, seen from a camera that circles and zooms."""
        height, width = self._table.shape[:2]
        zoom = 1.22 + 0.09 * math.sin(turn)
        left = self.width / 2 - zoom * (width / 2 + 25 * math.cos(turn))
        top = self.height / 2 - zoom * (height / 2 - 25 + 20 * math.sin(2 * turn))
        moved = cv2.warpAffine(
            self._table, np.array([[zoom, 0, left], [0, zoom, top]]), (self.width, self.height),
            flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        return np.asarray(moved, np.uint8)

    def _place(
        self, view: Bgr, cutout: Bgra, x: float, scale: float, angle: float, below: float
    ) -> None:
        """
        Lay an object over the view.

        x: of its middle [pixel]. scale, angle: of the object [radian]. below: how far its lower
        edge lies under the view's [pixel].
        """
        height, width = cutout.shape[:2]
        foot = (x, self.height + 12 + below)
        reach = scale * (width / 2 + height * abs(math.sin(angle))) + 2
        left, right = (int(np.clip(edge, 0, self.width)) for edge in (x - reach, x + reach))
        top = max(0, int(foot[1] - scale * (height + width / 2 * abs(math.sin(angle))) - 2))
        if left >= right:
            return
        cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
        motion = np.array([
            [cosine, -sine, foot[0] - left - cosine * width / 2 + sine * height],
            [sine, cosine, foot[1] - top - sine * width / 2 - cosine * height],
        ])
        _blend(view[top:, left:right], cutout, motion)


def _blend(region: Bgr, cutout: Bgra, motion: Affine) -> None:
    """Lay the moved object over a region of the view, in place."""
    size = (region.shape[1], region.shape[0])
    moved = cv2.warpAffine(cutout, motion, size, flags=cv2.INTER_LINEAR)
    clear = cv2.bitwise_not(cv2.extractChannel(moved, 3))
    behind = cv2.multiply(region, cv2.merge([clear, clear, clear]), scale=1 / 255)
    region[:] = cv2.add(behind, cv2.cvtColor(moved, cv2.COLOR_BGRA2BGR))


def _photograph(name: str) -> Bgr:
    """Return a photograph of scikit-image's, without importing that package."""
    found = importlib.util.find_spec('skimage')
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError('scikit-image is not installed')
    path = Path(found.submodule_search_locations[0]) / 'data' / name
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise FileNotFoundError(f'no such picture: {path}')
    return np.asarray(picture, np.uint8)


def _cut_out(picture: Bgr, outline: tuple[int, ...], scale: float) -> Bgra:
    """
    Cut an object out of a photograph along its outline, with a soft edge, and scale it.

    Returns uint8 [height, width, 4]; the colours are multiplied by alpha already.
    """
    mask = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.array(outline, np.int32).reshape(-1, 2)], 255, cv2.LINE_AA)
    soft = cv2.GaussianBlur(mask, (0, 0), 1.5)
    colour = cv2.multiply(picture, cv2.merge([soft, soft, soft]), scale=1 / 255)
    cutout = cv2.merge([colour, soft])
    resized = cv2.resize(cutout, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(resized, np.uint8)
