# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""When the frames of a source are due. No ROS, and no clock of its own."""

from __future__ import annotations

SECOND = 1_000_000_000

# After a longer delay than this the frames that follow are not hurried to catch up.
_LONGEST_CATCH_UP_NS = SECOND // 5

# A longer gap between two frames of a source is no rhythm of a camera: a recorder whose clock
# jumped, or a break in the recording. What follows it is not waited for.
LONGEST_GAP_NS = 10 * SECOND


class Schedule:
    """The rhythm of a source, or a fixed rate; the passes of a loop follow each other in it."""

    def __init__(self, rate: float) -> None:
        """rate: frames a second, 0 for the source's own."""
        self._period_ns = round(SECOND / rate) if rate else 0
        self._due_ns: int | None = None
        self._step_ns = 0
        self._offset_ns = 0
        self._skipped_ns = 0

    @property
    def skipped(self) -> float:
        """How long a gap before the last frame was left out [s]; 0 without one."""
        return self._skipped_ns / SECOND

    def next_pass(self) -> None:
        """Begin the source again: its first frame is due one step after its last."""
        self._offset_ns = -self._step_ns

    def delay(self, offset_ns: int, now_ns: int) -> float:
        """
        Return how long to wait for the next frame [s]; the first frame ever is due at once.

        offset_ns: time of the frame in the source [ns]. now_ns: time on a steady clock [ns].
        """
        gap_ns = max(0, offset_ns - self._offset_ns)
        self._skipped_ns = gap_ns if gap_ns > LONGEST_GAP_NS and not self._period_ns else 0
        if not self._skipped_ns:
            self._step_ns = self._period_ns or gap_ns
        self._offset_ns = offset_ns
        if self._due_ns is None:
            self._due_ns = now_ns
        else:
            self._due_ns = max(self._due_ns + self._step_ns, now_ns - _LONGEST_CATCH_UP_NS)
        return max(0, self._due_ns - now_ns) / SECOND
