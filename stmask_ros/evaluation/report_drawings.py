# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Drawings of a report as SVG text: who held each object when, and how long frames took."""

from __future__ import annotations

import hashlib
import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stmask_ros.evaluation.coverage import holders
from stmask_ros.evaluation.video_iou import VideoOverlap
from stmask_ros.views.overlay import colour_of

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_WIDTH = 960
_NAMES = 170
_ROW = 18
_MOST_TRACKS = 12
_NONE = -1
_NOT_FOUND = '#d5d5d5'
_PLOT_HEIGHT = 200
_MARGIN = 28
_MOST_POINTS = 480


@dataclass(frozen=True)
class _Row:
    """A named line of the timeline; colours: one a frame, '' where nothing is drawn."""

    name: str
    colours: Sequence[str]


def timeline(
    overlap: VideoOverlap, object_names: Sequence[str], track_names: Sequence[str]
) -> str:
    """
    Return the identity timeline of a video.

    A line for each object in the colours of the tracks that hold it, grey where none does; below,
    a line for each track wherever it has a mask, those that hold most first, and only the first.
    """
    held = holders(overlap)
    colours = [track_colour(name) for name in track_names]
    rows = [
        _Row(
            name,
            [_object_colour(visible, holder, colours)
             for visible, holder in zip(overlap.true_stack.areas[:, index] > 0, held[:, index],
                                        strict=True)],
        )
        for index, name in enumerate(object_names)
    ]
    tracks = _most_important(held, overlap.predicted_stack.present)
    rows += [
        _Row(
            f'track {track_names[track]}',
            [colours[track] if area else '' for area in overlap.predicted_stack.areas[:, track]],
        )
        for track in tracks[:_MOST_TRACKS]
    ]
    rest = max(0, len(tracks) - _MOST_TRACKS)
    return _draw_rows(rows, f'and {rest} other tracks' if rest else '')


def track_colour(name: str) -> str:
    """Return the colour of a track by name; by id, it is that of the overlay."""
    number = int(name) if name.isdigit() else int(hashlib.sha256(name.encode()).hexdigest(), 16)
    blue, green, red = colour_of(number % 100_000)
    return f'#{red:02x}{green:02x}{blue:02x}'


def _object_colour(visible: bool, holder: int, colours: Sequence[str]) -> str:
    if holder != _NONE:
        return colours[holder]
    return _NOT_FOUND if visible else ''


def _most_important(held: Int64Array, present: BoolArray) -> list[int]:
    """Return the tracks by the frames in which they hold something, then by those they are in."""
    count = present.shape[1]
    frames_held = np.bincount(held[held != _NONE], minlength=count)
    return [int(track) for track in np.lexsort((-present.sum(axis=0), -frames_held))]


def _draw_rows(rows: Sequence[_Row], note: str) -> str:
    height = _ROW * (len(rows) + bool(note)) + 4
    parts = [part for line, row in enumerate(rows) for part in _draw_row(row, line * _ROW)]
    if note:
        parts.append(_text(0, height - 8, note))
    return _svg(height, parts)


def _draw_row(row: _Row, top: int) -> Iterator[str]:
    yield _text(0, top + _ROW - 5, row.name)
    step = (_WIDTH - _NAMES) / max(1, len(row.colours))
    for start, stop, colour in _runs(row.colours):
        if colour:
            yield (f'<rect x="{_NAMES + start * step:.1f}" y="{top + 2}" '
                   f'width="{(stop - start) * step:.1f}" height="{_ROW - 4}" fill="{colour}"/>')


def _runs(colours: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    start = 0
    for stop in range(1, len(colours) + 1):
        if stop == len(colours) or colours[stop] != colours[start]:
            yield start, stop, colours[start]
            start = stop


def latency_plot(seconds: Sequence[float]) -> str:
    """Return a plot of the time of each frame [s], with its median and 99th percentile."""
    milliseconds = 1000 * np.asarray(seconds, np.float64)
    median, high = np.percentile(milliseconds, (50, 99))
    top = max(float(milliseconds.max()), 1e-3) * 1.05
    points = _peaks(milliseconds)
    xs = _MARGIN + np.linspace(0, _WIDTH - 2 * _MARGIN, len(points))
    line = ' '.join(
        f'{x:.1f},{_height_of(y, top):.1f}' for x, y in zip(xs, points, strict=True)
    )
    parts = [
        f'<polyline points="{line}" fill="none" stroke="#2266bb" stroke-width="1.2"/>',
        *_level(float(median), top, f'median {median:.1f} ms', _MARGIN),
        *_level(float(high), top, f'99 % {high:.1f} ms', _WIDTH - _MARGIN - 100),
        *_level(0.0, top, '', 0),
        _text(_MARGIN, _PLOT_HEIGHT - 10, f'{len(milliseconds)} frames, first to last'),
    ]
    return _svg(_PLOT_HEIGHT, parts)


def _peaks(values: Float64Array) -> Float64Array:
    """Return the values, or the highest of each of so many equal stretches."""
    if len(values) <= _MOST_POINTS:
        return values
    return np.array([part.max() for part in np.array_split(values, _MOST_POINTS)])


def _level(value: float, top: float, label: str, x: float) -> Iterator[str]:
    """Draw a dashed line at a value, with its label above it at x; a halo keeps it readable."""
    y = _height_of(value, top)
    yield (f'<line x1="{_MARGIN}" x2="{_WIDTH - _MARGIN}" y1="{y:.1f}" y2="{y:.1f}" '
           'stroke="#999" stroke-dasharray="4 3"/>')
    yield f'<g stroke="#fff" stroke-width="4" paint-order="stroke">{_text(x, y - 3, label)}</g>'


def _height_of(value: float, top: float) -> float:
    return _PLOT_HEIGHT - _MARGIN - (_PLOT_HEIGHT - 2 * _MARGIN) * float(value) / top


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.1f}">{html.escape(text)}</text>'


def _svg(height: int, parts: Sequence[str]) -> str:
    return (f'<svg viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
            f'role="img">{"".join(parts)}</svg>')
