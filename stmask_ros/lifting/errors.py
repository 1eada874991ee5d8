# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a depth image, a cloud, a calibration or a transform."""

from __future__ import annotations

from typing import Literal

Reason = Literal[
    'depth encoding', 'depth size', 'depth step', 'short depth data', 'broken depth data',
    'cloud fields', 'cloud size', 'short cloud data',
    'no calibration', 'calibration', 'calibration size',
    'instances', 'no transform', 'transform',
]


class LiftingError(ValueError):
    """
    Input that cannot be lifted to three dimensions.

    reason: a few fixed words, good for counting. str(error): one sentence for the user.
    """

    def __init__(self, reason: Reason, text: str) -> None:
        """Keep the reason beside the text."""
        super().__init__(text)
        self.reason: Reason = reason
