# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Values of several objects, one object after the other, so that all are treated in one go."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Grouping:
    """
    Which of M values belong to which of N objects: first those of the first object, and so on.

    sizes: int64 [N], how many values each object has.
    """

    sizes: Int64Array

    @classmethod
    def of(cls, owners: npt.NDArray[Any], count: int) -> Grouping:
        """Return the grouping of values whose objects are owners, [M], ordered, below `count`."""
        return cls(_steps(np.searchsorted(owners, np.arange(count + 1, dtype=owners.dtype))))

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self.sizes)

    @cached_property
    def starts(self) -> Int64Array:
        """Where the values of each object begin, int64 [N]."""
        return self.sizes.cumsum() - self.sizes

    @property
    def owners(self) -> Int64Array:
        """The object of each value, int64 [M]."""
        return self.spread(np.arange(len(self)))

    def spread(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return values of objects, [N], for each of the objects' values, [M]."""
        return values.repeat(self.sizes)

    def chosen(self, places: Int64Array) -> Grouping:
        """Return the grouping of the values at some places, which rise."""
        borders = np.append(self.starts, self.sizes.sum())
        return Grouping(_steps(np.searchsorted(places, borders)))

    def reduced(self, operation: np.ufunc, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """
        Return what an operation, such as np.add, makes of the values [..., M] of each object.

        Returns float [..., N], NaN for objects without values.
        """
        there = self.sizes.nonzero()[0]
        if len(there) == len(self) > 0:
            return np.asarray(operation.reduceat(values, self.starts, axis=-1))
        found = np.full((*values.shape[:-1], len(self)), np.nan, values.dtype)
        if len(there):
            found[..., there] = operation.reduceat(values, self.starts[there], axis=-1)
        return found


def _steps(borders: Int64Array) -> Int64Array:
    return borders[1:] - borders[:-1]
