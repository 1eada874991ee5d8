# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What a step returns for one frame: tracked instances, on the host, in pixels of the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from stmask_ros.masks import Float32Array, Int64Array, RegionMask


class TrackStatus(IntEnum):
    """Values of TrackedInstance.state."""

    TENTATIVE = 1
    CONFIRMED = 2
    COASTING = 3
    TERMINATED = 4


class Source(IntEnum):
    """Values of TrackedInstance.source."""

    DETECTED = 1
    PROPAGATED = 2
    FUSED = 3


_INTEGERS = (
    'track_ids', 'statuses', 'sources', 'class_ids', 'ages', 'hits', 'missed', 'first_seen',
    'last_detected',
)
_COLUMNS = (*_INTEGERS, 'scores', 'detection_scores', 'boxes')


@dataclass(frozen=True)
class FrameResult:
    """
    The N tracked instances of one frame, ordered by track id.

    image_height, image_width: size of the input image [pixel]; boxes and masks refer to it.
    epoch: copied from the stream's state; track ids compare only within one.
    sequence: number of this frame in the epoch, from 1.
    temporal_valid: False for the first frame of an epoch.
    track_ids: int64 [N], from 1, unique.
    statuses: int64 [N], values of TrackStatus.
    sources: int64 [N], values of Source.
    class_ids: int64 [N], from 1 (0 is the background).
    scores, detection_scores: float32 [N] in [0, 1]: now, and at the last real detection.
    ages, hits, missed: int64 [N] frames: since birth (from 1), detected, undetected in a row.
    first_seen, last_detected: int64 [N], stamps given to the steps of those frames [ns].
    boxes: float32 [N, 4], x_min, y_min, x_max, y_max [pixel], clipped to the image.
    masks: N RegionMask; of a TERMINATED track an empty one.
    """

    image_height: int
    image_width: int
    epoch: int
    sequence: int
    temporal_valid: bool
    track_ids: Int64Array
    statuses: Int64Array
    sources: Int64Array
    class_ids: Int64Array
    scores: Float32Array
    detection_scores: Float32Array
    ages: Int64Array
    hits: Int64Array
    missed: Int64Array
    first_seen: Int64Array
    last_detected: Int64Array
    boxes: Float32Array
    masks: Sequence[RegionMask]

    def __post_init__(self) -> None:
        """Raise ValueError if a field has another shape or dtype than documented."""
        count = len(self.track_ids)
        for name in _INTEGERS:
            _check(name, getattr(self, name), (count,), np.int64)
        _check('scores', self.scores, (count,), np.float32)
        _check('detection_scores', self.detection_scores, (count,), np.float32)
        _check('boxes', self.boxes, (count, 4), np.float32)
        if len(self.masks) != count:
            raise ValueError(f'masks: expected {count}, got {len(self.masks)}')

    def __len__(self) -> int:
        """Return the number of instances."""
        return len(self.track_ids)

    def rows(self, index: Sequence[int]) -> FrameResult:
        """Return the result with these of its instances alone, in the order of index."""
        rows = np.asarray(index, np.int64)
        return replace(
            self, masks=[self.masks[i] for i in index],
            **{name: getattr(self, name)[rows] for name in _COLUMNS},
        )


def _check(
    name: str, array: npt.NDArray[np.generic], shape: tuple[int, ...], dtype: npt.DTypeLike
) -> None:
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(
            f'{name}: expected {np.dtype(dtype)} {list(shape)}, '
            f'got {array.dtype} {list(array.shape)}'
        )
