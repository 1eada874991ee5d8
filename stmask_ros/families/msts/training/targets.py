# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What a clip's queries are to learn."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class ClipTargets:
    """
    The n objects of a clip of T frames.

    labels: int64 [n], category ids from 1. boxes: (x, y, width, height), center first, in
    fractions of the image without padding, [n, T, 4]; zeros or about where an object is absent.
    masks: bool [n, T, H, W] in pixels of the padded image; empty where it is absent.
    """

    labels: Tensor
    boxes: Tensor
    masks: Tensor

    def __post_init__(self) -> None:
        """Raise ValueError unless the shapes go together."""
        count, frames = self.masks.shape[:2]
        if self.labels.shape != (count,) or self.boxes.shape != (count, frames, 4):
            raise ValueError(
                f'expected labels [n], boxes [n, T, 4] and masks [n, T, H, W], got '
                f'{list(self.labels.shape)}, {list(self.boxes.shape)}, {list(self.masks.shape)}'
            )

    def __len__(self) -> int:
        """Return n."""
        return len(self.labels)
