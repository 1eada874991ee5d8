# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A picture with its objects, and what the classes of a data set are called in a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stmask_ros.families.frames import AnnotatedFrame

__all__ = ['AnnotatedFrame', 'BoolArray', 'ClassMap', 'Int64Array', 'UInt8Array']

UInt8Array = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]
Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ClassMap:
    """
    From names of other data to a model's classes.

    classes: of the model, in order. names: name of a category, supercategory or video -> class.
    otherwise: class of all that is neither in names nor a class itself; None to leave it out.
    """

    classes: tuple[str, ...]
    names: Mapping[str, str]
    otherwise: str | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for a class that the model does not have."""
        wanted = {*self.names.values(), *([self.otherwise] if self.otherwise else [])}
        if unknown := sorted(wanted - set(self.classes)):
            raise ValueError(
                f'{", ".join(unknown)}: expected classes of the model ({", ".join(self.classes)})'
            )

    def label(self, names: Sequence[str]) -> int | None:
        """Return the label, >= 1, of something that has these names, the most special first."""
        for name in names:
            name = self.names.get(name, name)
            if name in self.classes:
                return self.classes.index(name) + 1
        return self.classes.index(self.otherwise) + 1 if self.otherwise else None
