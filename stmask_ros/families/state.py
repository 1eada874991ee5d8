# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What a stream remembers between two steps."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class StreamState:
    """
    All that a stream remembers between two steps. A reset is a new state with a higher epoch.

    sequence: frames processed in this epoch. next_id: of the next track in this epoch.
    memory: of the model's family, an immutable value; only the family looks inside. reported: ids
    of living tracks that a result has shown.
    """

    epoch: int
    sequence: int
    next_id: int
    memory: Any
    reported: frozenset[int] = frozenset()

    @property
    def tracks(self) -> Any:
        """Deprecated: memory.tracks, of the families that have some."""
        return self._of_memory('tracks')

    @property
    def features(self) -> Any:
        """Deprecated: memory.features, of the families that have some."""
        return self._of_memory('features')

    def _of_memory(self, name: str) -> Any:
        warnings.warn(f'read state.memory.{name}', DeprecationWarning, stacklevel=3)
        return getattr(self.memory, name)
