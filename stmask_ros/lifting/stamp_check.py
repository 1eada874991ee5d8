# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Finds out whether the depth of the frame before or after fits the masks better than its own."""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from stmask_ros.lifting.depth import DepthImage
from stmask_ros.lifting.depth_mode import own_surface
from stmask_ros.lifting.labels import LabelMap
from stmask_ros.lifting.measurement import Sensor
from stmask_ros.lifting.pipeline import LiftedPair
from stmask_ros.lifting.views import CloudView

_POINTS = 400
_KEPT = 40
_FEWEST = 8
# A share of a mask that is more than chance, and so many standard errors of its mean.
_BETTER = 0.005
_SURE = 3.0


class StampCheck:
    """
    Compares three depth images with the masks of one image, over many images.

    Where something moves, its mask covers more of its own surface in depth of the same moment. If
    depth of the next frame covers more, time after time, stamps are off by one frame.
    """

    def __init__(self, sensor: Sensor) -> None:
        """Start without an opinion."""
        self._sensor = sensor
        self._gains: tuple[deque[float], deque[float]] = (deque(maxlen=_KEPT), deque(maxlen=_KEPT))

    def add(self, pair: LiftedPair, before: DepthImage | None, after: DepthImage | None) -> None:
        """Take the depth images before and after that of a pair into account."""
        if isinstance(pair.view, CloudView) or not isinstance(pair.depth, DepthImage):
            return
        at = self._covered(pair, pair.depth)
        for gains, depth in zip(self._gains, (before, after), strict=True):
            if depth is not None and depth.size == pair.depth.size:
                gains.append(float(np.sum(self._covered(pair, depth) - at)))

    @property
    def off_by(self) -> int:
        """Which depth fits best: -1 that of the frame before, 1 that after, 0 its own."""
        scores = [_score(gains) for gains in self._gains]
        best = int(np.argmax(scores))
        return (-1, 1)[best] if scores[best] > 0 else 0

    def _covered(self, pair: LiftedPair, depth: DepthImage) -> npt.NDArray[np.float64]:
        """Return the share of each mask that is its object's own surface, [N]."""
        assert not isinstance(pair.view, CloudView)
        everywhere = LabelMap(pair.labels.labels, pair.labels.labels > 0)
        samples = pair.view.sample(depth, pair.frame, everywhere, _POINTS)
        own = own_surface(
            samples.points[2], samples.grouping, samples.core, self._sensor.discontinuity)
        used = samples.grouping.chosen(own.nonzero()[0]).sizes
        return np.asarray(used / np.maximum(samples.grouping.sizes, 1))


def _score(gains: deque[float]) -> float:
    """Return the mean gain if it is beyond doubt, else 0."""
    if len(gains) < _FEWEST:
        return 0.0
    mean, error = float(np.mean(gains)), float(np.std(gains)) / len(gains) ** 0.5
    return mean if mean > max(_BETTER, _SURE * error) else 0.0
