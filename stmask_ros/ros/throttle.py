# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Keeps a message that repeats with every image from flooding the log."""

from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.impl.rcutils_logger import RcutilsLogger


class LogThrottle:
    """Logs each kind of message at once, and then no more often than once a period."""

    def __init__(
        self,
        logger: RcutilsLogger,
        period: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Log to `logger`; period [s] is the same for every kind, clock [s] must be steady."""
        self._logger = logger
        self._period = period
        self._clock = clock
        self._next: dict[str, float] = {}
        self._withheld: dict[str, int] = {}

    def info(self, kind: str, text: str) -> None:
        """Log what is normal, but worth knowing."""
        if (admitted := self._admit(kind, text)) is not None:
            self._logger.info(admitted)

    def warning(self, kind: str, text: str) -> None:
        """Log what a user should look into."""
        if (admitted := self._admit(kind, text)) is not None:
            self._logger.warning(admitted)

    def error(self, kind: str, text: str) -> None:
        """Log what should not happen."""
        if (admitted := self._admit(kind, text)) is not None:
            self._logger.error(admitted)

    def _admit(self, kind: str, text: str) -> str | None:
        """Return the text to log, with how many of its kind were withheld; None to withhold."""
        now = self._clock()
        if now < self._next.get(kind, now):
            self._withheld[kind] = self._withheld.get(kind, 0) + 1
            return None
        self._next[kind] = now + self._period
        withheld = self._withheld.pop(kind, 0)
        return f'{text} ({withheld} more like this since the last report)' if withheld else text
