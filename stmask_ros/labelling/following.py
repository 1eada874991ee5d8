# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
A thing that is found again in the pictures that follow, by how it looked when it was outlined.

That template is laid over the next picture by an affine map, found by matching, and bent by dense
optical flow. As each picture is compared with the outlined one, and not with the one before,
mistakes do not add up; only where the thing has changed too much, it is seen anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from stmask_ros.masks import BoolArray, Float32Array

Bgr = npt.NDArray[np.uint8]
Affine = npt.NDArray[np.float64]
Window = tuple[slice, slice]

# Longest side of the surroundings of a thing that flow is computed on [pixel].
_SIDE = 240
# Of a thing's longer side, around it: what flow sees, and how far it is looked for; and pixels.
_MARGIN, _REACH = (0.35, 12), (0.3, 48)
# Longest side of what is searched [pixel].
_SEARCHED = 128
# Of a pixel that counts for the affine map: how far from itself it may end, there and back; how
# many there have to be, and as a part of the thing; how many are enough.
_ASTRAY, _FEWEST, _SURE, _POINTS = 1.0, 20, 0.3, 400
# Differences of colour, blurred [pixel]: what counts at most, so that what hides a thing does not
# decide; and of a hidden pixel.
_BLUR, _MOST, _HIDDEN = 1.5, 30.0, 60.0
# Mean difference of a thing that is not found again.
_UNLIKE = 26.0
# How unlike the picture before may be, as a part of how unlike the outlined one is, to replace it.
_ANEW = 0.8
_STAY: Affine = np.eye(2, 3)


@dataclass(frozen=True)
class Template:
    """How a thing looks in one picture: uint8 BGR [H, W, 3], and its mask, bool [H, W]."""

    picture: Bgr
    mask: BoolArray


@dataclass(frozen=True)
class TemplateMatch:
    """
    A thing in a picture.

    here: how it looks there. known: how it looked where it was outlined, or seen anew. affine:
    float64 [2, 3], from the pixels of `known` (x, y) to those of `here`.
    """

    here: Template
    known: Template
    affine: Affine

    @classmethod
    def first(cls, picture: Bgr, mask: BoolArray) -> TemplateMatch:
        """Return a thing in the picture, uint8 BGR [H, W, 3], in which its mask was outlined."""
        template = Template(picture, mask)
        return cls(template, template, _STAY)

    def refined(self, mask: BoolArray) -> TemplateMatch:
        """Return the thing with another mask, bool [H, W], in the picture in which it is."""
        return TemplateMatch(Template(self.here.picture, mask), self.known, self.affine)


@dataclass(frozen=True)
class _Fit:
    unlike: float
    mask: BoolArray
    affine: Affine


def followed(match: TemplateMatch, now: Bgr) -> TemplateMatch | None:
    """
    Return a thing in the next picture; None if it is not found again.

    now: uint8 BGR [H, W, 3], of the same size.
    """
    here = match.here
    if here.mask.sum() < _FEWEST:
        return None
    move = _matched(here, now)
    known, anew = match.known, None
    best = _fitted(known, _after(move, match.affine), now)
    if known is not here:
        anew = _fitted(here, move, now)
    if anew is not None and (best is None or anew.unlike < _ANEW * best.unlike):
        best, known = anew, here
    if best is None or best.unlike > _UNLIKE:
        return None
    return TemplateMatch(Template(now, best.mask), known, best.affine)


def _matched(template: Template, now: Bgr) -> Affine:
    """Return the shift at which the thing is most alike, by squared differences."""
    place, wide = _window(template.mask, (0, 0)), _window(template.mask, _REACH)
    scale = min(1.0, _SEARCHED / max(now[wide].shape[:2]))
    searched, pattern = (
        _resized(each, scale).astype(np.float32)
        for each in (now[wide], template.picture[place]))
    inside = _resized(template.mask[place].astype(np.float32), scale) > 0.5
    if not inside.any():
        return _STAY
    weights = np.repeat(inside[..., None], 3, 2).astype(np.float32)
    unlike = cv2.matchTemplate(searched, pattern, cv2.TM_SQDIFF, mask=weights)
    row, column = np.unravel_index(unlike.argmin(), unlike.shape)
    return _shifted(column / scale + wide[1].start - place[1].start,
                    row / scale + wide[0].start - place[0].start)


def _fitted(known: Template, affine: Affine, now: Bgr) -> _Fit | None:
    """Return what a template covers that is laid on a picture by a map, and then bent by flow."""
    height, width = now.shape[:2]
    laid = cv2.warpAffine(known.mask.astype(np.float32), affine, (width, height))
    if (laid > 0.5).sum() < _FEWEST:
        return None
    window = _window(laid > 0.5, _MARGIN)
    rows, columns = window
    shape = (columns.stop - columns.start, rows.stop - rows.start)
    scale = min(1.0, _SIDE / max(shape))
    to_window = _shifted(-columns.start, -rows.start)
    warped = _resized(cv2.warpAffine(
        known.picture, _after(to_window, affine), shape, borderMode=cv2.BORDER_REPLICATE), scale)
    seen, soft = _resized(now[window], scale), _resized(laid[window], scale)
    there, back = _flow(warped, seen), _flow(seen, warped)
    bent = _moved(soft, back) > 0.5
    if bent.sum() < _FEWEST:
        return None
    unlike = cv2.GaussianBlur(
        np.abs(_moved(warped.astype(np.float32), back) - seen).max(2), (0, 0), _BLUR)
    mask = np.zeros((height, width), bool)
    mask[window] = cv2.resize(_visible(bent, unlike).astype(np.float32), shape) > 0.5
    rest = _affine_of(there, soft > 0.5, _astray(there, back) < _ASTRAY)
    rest[:, 2] /= scale
    in_picture = _after(_shifted(columns.start, rows.start), _after(rest, to_window))
    return _Fit(
        float(np.minimum(unlike[bent], _MOST).mean()), mask, _after(in_picture, affine))


def _visible(mask: BoolArray, unlike: Float32Array) -> BoolArray:
    """Return the mask without what another thing hides; all of it if nothing is left."""
    alike = (mask & (unlike < _HIDDEN)).astype(np.uint8)
    seen = cv2.morphologyEx(alike, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
    return seen if seen.any() else mask


def _affine_of(flow: Float32Array, mask: BoolArray, sure: BoolArray) -> Affine:
    """Return the affine map that flow follows in most of a mask; the identity if it is unsure."""
    rows, columns = np.nonzero(mask & sure)
    if len(rows) < max(_FEWEST, _SURE * mask.sum()):
        return _STAY.copy()
    chosen = np.linspace(0, len(rows) - 1, min(_POINTS, len(rows))).astype(int)
    rows, columns = rows[chosen], columns[chosen]
    begin = np.stack([columns, rows], 1).astype(np.float32)
    found, _ = cv2.estimateAffine2D(
        begin, begin + flow[rows, columns], method=cv2.RANSAC, ransacReprojThreshold=1.5,
        maxIters=300)
    return _STAY.copy() if found is None else np.asarray(found, np.float64)


def _shifted(x: float, y: float) -> Affine:
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y]])


def _after(second: Affine, first: Affine) -> Affine:
    """Return the affine map that does one and then the other."""
    return np.asarray(second[:, :2] @ first + np.pad(second[:, 2:], ((0, 0), (2, 0))))


def _window(mask: BoolArray, margin: tuple[float, int]) -> Window:
    """Return the part of the picture about a mask. margin: of its longer side, and [pixel]."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    longer = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    more = round(margin[0] * longer) + margin[1]
    height, width = mask.shape
    return (slice(max(int(rows[0]) - more, 0), min(int(rows[-1]) + more + 1, height)),
            slice(max(int(columns[0]) - more, 0), min(int(columns[-1]) + more + 1, width)))


def _resized(values: npt.NDArray[Any], scale: float) -> npt.NDArray[Any]:
    if scale == 1:
        return np.ascontiguousarray(values)
    return cv2.resize(values, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _flow(first: Bgr, second: Bgr) -> Float32Array:
    """Return where each pixel of the first goes, float32 [h, w, 2] (x, y)."""
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    old, new = (cv2.cvtColor(each, cv2.COLOR_BGR2GRAY) for each in (first, second))
    empty = np.zeros((*first.shape[:2], 2), np.float32)
    return np.asarray(flow.calc(old, new, empty), np.float32)


def _astray(there: Float32Array, back: Float32Array) -> Float32Array:
    """Return how far from where it began each pixel ends, there and back."""
    return np.asarray(np.linalg.norm(there + _moved(back, there), axis=2), np.float32)


def _moved(values: Float32Array, flow: Float32Array) -> Float32Array:
    """Return what lies where the flow leads from each pixel."""
    rows, columns = np.mgrid[:flow.shape[0], :flow.shape[1]].astype(np.float32)
    moved = cv2.remap(values, columns + flow[..., 0], rows + flow[..., 1], cv2.INTER_LINEAR,
                      borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32)
