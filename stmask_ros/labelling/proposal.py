# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The mask of a thing that was clicked: the model's prototypes fitted to the clicks.

Ridge regression with a Gaussian kernel over the prototypes, the colour and the place of each cell,
then GrabCut (Rother et al., SIGGRAPH 2004) for the pixels near the outline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from stmask_ros.labelling.exchange import Picture
from stmask_ros.masks import BoolArray, Float32Array

Bgr = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]

# Of a place in the picture, of colours and of prototypes in the distance between two cells.
_PLACE, _COLOUR_LEVELS = 4.0, 50.0
_RIDGE, _OF_SAMPLES = 0.1, 0.01
_SAMPLES = 256
# How much narrower the kernel is where a mask is corrected than where one is looked for.
_OF_CORRECTIONS = 2.0
# Around a click [cells].
_REACH = 1.5
# What a mask that was there says of its cells, where a click says 1 or -1.
_BASE = 0.7
# Longest side of the part of a picture that GrabCut works on [pixel], and its passes.
_CUT_SIDE, _CUT_PASSES = 480, 2
# Of a part's longer side: how near the outline pixels are decided again.
_BAND = 1 / 40
_WIDEST = 12


@dataclass(frozen=True)
class Click:
    """A pixel of the picture that is inside of the thing, or not."""

    x: float
    y: float
    is_inside: bool


@dataclass(frozen=True)
class Hints:
    """What a person said of one thing in one picture; base: the mask that it had before."""

    clicks: tuple[Click, ...] = ()
    box: Box | None = None
    base: BoolArray | None = None

    @property
    def are_none(self) -> bool:
        """Whether nothing was said, and there was no mask."""
        return not self.clicks and self.box is None and self.base is None


_NONE = Hints()


@dataclass(frozen=True)
class Cells:
    """
    A picture as the fit sees it.

    features: float32 [h * w, D]. shape: h, w. picture: uint8 BGR [H, W, 3].
    """

    features: Float32Array
    shape: tuple[int, int]
    picture: Bgr

    @classmethod
    def of(cls, picture: Bgr, prototypes: Float32Array) -> Cells:
        """prototypes: float32 [P, h, w] of the picture."""
        count, height, width = prototypes.shape
        maps = prototypes.reshape(count, -1).T
        maps = (maps - maps.mean(0)) / ((maps.std(0) + 1e-3) * np.sqrt(count))
        small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        lab = cv2.cvtColor(small, cv2.COLOR_BGR2LAB).reshape(-1, 3) / _COLOUR_LEVELS
        lab = (lab - lab.mean(0)) / ((lab.std(0) + 1e-3) * np.sqrt(3))
        rows, columns = np.mgrid[:height, :width]
        place = np.stack([rows.ravel(), columns.ravel()], 1) * (_PLACE / max(height, width))
        features = np.concatenate([maps, lab, place], 1).astype(np.float32)
        return cls(features, (height, width), picture)

    def moved(self, rows: float, columns: float) -> Cells:
        """Return the cells as if they lay elsewhere, by fractions of the picture."""
        height, width = self.shape
        scale = _PLACE / max(height, width)
        features = self.features.copy()
        features[:, -2:] += (rows * height * scale, columns * width * scale)
        return Cells(features, self.shape, self.picture)

    def sharpened(self) -> Cells:
        """Return the cells farther apart, so that a click says less of others."""
        return Cells(self.features * _OF_CORRECTIONS, self.shape, self.picture)

    def reduced(self, mask: BoolArray) -> Float32Array:
        """Return which part of each cell a mask of the picture covers, float32 [h, w]."""
        area = cv2.resize(
            mask.astype(np.float32), self.shape[::-1], interpolation=cv2.INTER_AREA)
        return np.asarray(area, np.float32)


def proposed(cells: Cells, hints: Hints) -> BoolArray:
    """Return the mask, bool [H, W], of a thing of which there are clicks, a box, or both."""
    places, targets, weights = _evidence(cells, hints)
    prior = _prior(cells, hints)
    fitted = cells if hints.base is None else cells.sharpened()
    scores = prior + _fitted(fitted, fitted, places, targets - prior.ravel()[places], weights)
    if hints.box is not None:
        scores = np.where(_box_cells(cells, hints.box), scores, -1)
    mask = refined(cells.picture, _enlarged(scores, cells), hints)
    if hints.base is None:
        return clicked_parts(mask, hints.clicks)
    return np.where(_corrected_part(cells, scores, hints, hints.base), mask, hints.base)


def carried(before: Cells, mask: BoolArray, now: Cells, shift: tuple[float, float]) -> BoolArray:
    """
    Return the mask of the same thing in the next picture.

    shift: how far it has moved, rows and columns as fractions of the picture.
    """
    inside = before.reduced(mask).ravel() > 0.5
    places = _sampled(inside)
    targets = np.where(inside[places], 1.0, -1.0)
    scores = _fitted(before, now.moved(-shift[0], -shift[1]), places, targets,
                     np.full(len(places), 1.0))
    return refined(now.picture, _largest(_enlarged(scores, now)))


def _corrected_part(
    cells: Cells, scores: Float32Array, hints: Hints, base: BoolArray
) -> BoolArray:
    """Return where clicks change a mask, bool [H, W]: around them, and what hangs together."""
    changed = (scores > 0) != (cells.reduced(base) > 0.5)
    for click in hints.clicks:
        changed.ravel()[_around(cells, click)] = True
    _, parts = cv2.connectedComponents(changed.astype(np.uint8))
    numbers = {int(parts.ravel()[_around(cells, click)[0]]) for click in hints.clicks}
    clicked = _enlarged(np.where(np.isin(parts, list(numbers)), 1.0, -1.0), cells)
    return _grown(clicked, 2 * max(base.shape) // 100 + 3)


def _evidence(
    cells: Cells, hints: Hints
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return cells, what is said of them (1 or -1), and how surely."""
    said = np.zeros(len(cells.features))
    for click in hints.clicks:
        said[_around(cells, click)] = 1.0 if click.is_inside else -1.0
    clicked = np.flatnonzero(said)
    likely = np.zeros(len(said), bool) if hints.base is None else (
        cells.reduced(hints.base).ravel() > 0.5)
    if hints.box is not None:
        likely |= _core_cells(cells, hints.box).ravel()
    sampled = np.setdiff1d(_sampled(likely), clicked)
    targets = np.where(likely[sampled], 1.0, -1.0) * (1 if hints.base is None else _BASE)
    return (
        np.concatenate([clicked, sampled]), np.concatenate([said[clicked], targets]),
        np.concatenate([np.ones(len(clicked)), np.full(
            len(sampled), _OF_SAMPLES if hints.box is None else 10 * _OF_SAMPLES)]))


def _sampled(likely: BoolArray) -> npt.NDArray[np.int64]:
    """Return cells drawn evenly, always the same, half of them among the likely ones."""
    rng = np.random.default_rng(0)
    parts = [np.flatnonzero(likely), np.flatnonzero(~likely)]
    return np.concatenate([
        rng.choice(part, min(_SAMPLES, len(part)), replace=False) for part in parts])


def _prior(cells: Cells, hints: Hints) -> Float32Array:
    if hints.base is None:
        return np.zeros(cells.shape, np.float32)
    return np.where(cells.reduced(hints.base) > 0.5, _BASE, -_BASE).astype(np.float32)


def _fitted(
    cells: Cells, others: Cells, places: npt.NDArray[np.int64],
    targets: npt.NDArray[np.float64], weights: npt.NDArray[np.float64],
) -> Float32Array:
    """Return the ridge regression's score of each of the other cells, float32 [h, w]."""
    known = cells.features[places]
    kernel = _kernel(known, known) + np.diag(_RIDGE / weights)
    factors = np.linalg.solve(kernel, targets).astype(np.float32)
    scores: Float32Array = (_kernel(others.features, known) @ factors).reshape(others.shape)
    return scores


def _kernel(first: Float32Array, second: Float32Array) -> Float32Array:
    products: Float32Array = first @ second.T
    squares = (first ** 2).sum(1)[:, None] + (second ** 2).sum(1) - 2 * products
    return np.asarray(np.exp(-squares.clip(0)), np.float32)


def _around(cells: Cells, click: Click) -> npt.NDArray[np.int64]:
    height, width = cells.shape
    column = click.x * width / cells.picture.shape[1] - 0.5
    row = click.y * height / cells.picture.shape[0] - 0.5
    rows, columns = np.mgrid[:height, :width]
    distance = (rows - round(row)) ** 2 + (columns - round(column)) ** 2
    return np.flatnonzero(distance <= _REACH ** 2)


def _box_cells(cells: Cells, box: Box) -> BoolArray:
    height, width = cells.shape
    rows, columns = np.mgrid[:height, :width]
    x = (columns + 0.5) * cells.picture.shape[1] / width
    y = (rows + 0.5) * cells.picture.shape[0] / height
    left, top, right, bottom = box
    return np.asarray((x >= left) & (x <= right) & (y >= top) & (y <= bottom))


def _core_cells(cells: Cells, box: Box) -> BoolArray:
    """Return the cells in the middle of a box, where the thing most likely is."""
    left, top, right, bottom = box
    x, y = (right - left) / 5, (bottom - top) / 5
    return _box_cells(cells, (left + x, top + y, right - x, bottom - y))


def _enlarged(scores: Float32Array, cells: Cells) -> BoolArray:
    height, width = cells.picture.shape[:2]
    large = cv2.resize(scores.astype(np.float32), (width, height))
    return np.asarray(large > 0)


def clicked_parts(mask: BoolArray, clicks: Sequence[Click]) -> BoolArray:
    """Return the connected parts of a mask that were clicked; the largest without clicks."""
    inside = [click for click in clicks if click.is_inside]
    if not inside:
        return _largest(mask)
    _, parts = cv2.connectedComponents(mask.astype(np.uint8))
    height, width = mask.shape
    numbers = {
        int(parts[min(int(c.y), height - 1), min(int(c.x), width - 1)]) for c in inside} - {0}
    return np.isin(parts, list(numbers))


def _largest(mask: BoolArray) -> BoolArray:
    count, parts, facts, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if count < 2:
        return np.zeros_like(mask)
    return np.asarray(parts == 1 + int(facts[1:, cv2.CC_STAT_AREA].argmax()))


def _grown(mask: BoolArray, pixels: int) -> BoolArray:
    shape = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), shape) > 0)


def refined(
    picture: Bgr, mask: BoolArray, hints: Hints = _NONE, widest: int = _WIDEST,
    side: int = _CUT_SIDE,
) -> BoolArray:
    """
    Return the mask with the pixels near its outline decided again, by colour and edges.

    widest: how near they are at most. side: longest of the part that is worked on [pixel].
    """
    if not mask.any() or mask.all():
        return mask
    part = _surroundings(mask)
    piece, inside = picture[part], mask[part].astype(np.uint8)
    scale = min(1.0, side / max(inside.shape))
    size = (max(2, round(inside.shape[1] * scale)), max(2, round(inside.shape[0] * scale)))
    small = cv2.resize(piece, size, interpolation=cv2.INTER_AREA)
    marks = _marks(cv2.resize(inside, size, interpolation=cv2.INTER_NEAREST) > 0, widest)
    for click in hints.clicks:
        x, y = (click.x - part[1].start) * scale, (click.y - part[0].start) * scale
        value = cv2.GC_FGD if click.is_inside else cv2.GC_BGD
        cv2.circle(marks, (round(x), round(y)), 2, value, cv2.FILLED)
    if len(np.unique(marks & 1)) < 2:
        return mask
    models = np.zeros((2, 1, 65))
    no_box = (0, 0, 1, 1)
    cv2.setRNGSeed(0)  # of this thread: the same clicks give the same mask
    cv2.grabCut(
        small, marks, no_box, models[0], models[1], _CUT_PASSES, cv2.GC_INIT_WITH_MASK)
    soft = cv2.resize((marks & 1).astype(np.float32), inside.shape[::-1])
    result = np.zeros_like(mask)
    result[part] = soft > 0.5
    return result if result.any() else mask


def _surroundings(mask: BoolArray) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    margin = 10 + max(len(rows), len(columns)) // 4
    return (slice(max(int(rows[0]) - margin, 0), int(rows[-1]) + margin + 1),
            slice(max(int(columns[0]) - margin, 0), int(columns[-1]) + margin + 1))


def _marks(mask: BoolArray, widest: int) -> npt.NDArray[np.uint8]:
    """Return what GrabCut starts from: sure away from the outline, likely near it."""
    band = min(max(2, round(max(mask.shape) * _BAND)), widest)
    outer, core = _grown(mask, band), ~_grown(~mask, band)
    marks = np.full(mask.shape, cv2.GC_BGD, np.uint8)
    marks[outer] = cv2.GC_PR_BGD
    marks[mask] = cv2.GC_PR_FGD
    marks[core] = cv2.GC_FGD
    return marks


def box_of(mask: BoolArray, picture: Picture) -> Float32Array:
    """Return the box of a mask, float32 [1, 4], as fractions of the picture."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    x, y = columns / picture.width, rows / picture.height
    one = (1 / picture.width, 1 / picture.height)
    return np.array([(x[0], y[0], x[-1] + one[0], y[-1] + one[1])], np.float32)
