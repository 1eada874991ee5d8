# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A buffer of transforms for recorded data: interpolates between stamps, never beyond them."""

from __future__ import annotations

import bisect
from collections import deque
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from stmask_ros.lifting.errors import LiftingError
from stmask_ros.lifting.transforms import Transform

_DEEPEST = 100


@dataclass
class _Edge:
    """The transforms from a frame to its parent, in the order of their stamps."""

    parent: str
    is_static: bool
    stamps: deque[int] = field(default_factory=deque)
    transforms: deque[Transform] = field(default_factory=deque)


class TransformBuffer:
    """Keeps the transforms of the last seconds (Transforms)."""

    def __init__(self, seconds: float = 30.0) -> None:
        """Start empty; seconds: how long transforms are kept [s]."""
        self._kept = round(seconds * 1e9)
        self._edges: dict[str, _Edge] = {}

    def insert(
        self, parent: str, child: str, stamp: int, transform: Transform, is_static: bool = False
    ) -> None:
        """
        Add what takes points of `child` to `parent` at a stamp [ns], or always if it is static.

        A stamp far before the newest one means that time has jumped: what was known is forgotten.
        """
        edge = self._edges.get(child)
        jumped = edge is not None and edge.stamps and stamp < edge.stamps[-1] - self._kept
        if edge is None or edge.parent != parent or is_static or edge.is_static or jumped:
            edge = self._edges[child] = _Edge(parent, is_static)
        position = bisect.bisect_left(edge.stamps, stamp)
        if position < len(edge.stamps) and edge.stamps[position] == stamp:
            edge.transforms[position] = transform
            return
        edge.stamps.insert(position, stamp)
        edge.transforms.insert(position, transform)
        while edge.stamps[0] < edge.stamps[-1] - self._kept:
            edge.stamps.popleft()
            edge.transforms.popleft()

    def lookup(self, target: str, source: str, stamp: int) -> Transform:
        """Return the transform from `source` to `target` at a stamp [ns], see Transforms."""
        up_source, up_target = self._ancestors(source), self._ancestors(target)
        common = next((frame for frame in up_source if frame in up_target), None)
        if common is None:
            raise LiftingError('no transform', (
                f"nothing connects the frames '{source}' and '{target}': expected transforms "
                'between them'))
        return self._climb(target, common, stamp).inverse().after(
            self._climb(source, common, stamp))

    def _ancestors(self, frame: str) -> list[str]:
        found = [frame]
        while found[-1] in self._edges and len(found) < _DEEPEST:
            found.append(self._edges[found[-1]].parent)
        return found

    def _climb(self, frame: str, ancestor: str, stamp: int) -> Transform:
        transform = Transform.identity()
        while frame != ancestor:
            edge = self._edges[frame]
            transform = _at(frame, edge, stamp).after(transform)
            frame = edge.parent
        return transform


def _at(frame: str, edge: _Edge, stamp: int) -> Transform:
    if edge.is_static:
        return edge.transforms[-1]
    if not edge.stamps[0] <= stamp <= edge.stamps[-1]:
        raise LiftingError('no transform', (
            f"the transform from '{frame}' to '{edge.parent}' is known from {edge.stamps[0]} to "
            f'{edge.stamps[-1]} ns, not at {stamp} ns'))
    after = bisect.bisect_left(edge.stamps, stamp)
    if edge.stamps[after] == stamp:
        return edge.transforms[after]
    first, second = edge.stamps[after - 1], edge.stamps[after]
    share = (stamp - first) / (second - first)
    return _between(edge.transforms[after - 1], edge.transforms[after], share)


def _between(first: Transform, second: Transform, share: float) -> Transform:
    """Turn about one axis and move along one line: the share [0..1] of the way that is done."""
    turn = _rotation_vector(first.rotation.T @ second.rotation) * share
    shift = first.translation + share * (second.translation - first.translation)
    return Transform(first.rotation @ _rotation(turn), shift)


def _rotation_vector(rotation: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(cv2.Rodrigues(rotation)[0], np.float64).ravel()


def _rotation(vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(cv2.Rodrigues(vector)[0], np.float64)
