# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""How the messages of one topic become pictures. Needs no ROS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from stmask_ros.images.raw import Picture, SeenSize


class ImageReader(Protocol):
    """
    Turns the messages of one topic into pictures, in two steps.

    take() sees every message, in the order of their sending, and no other thread calls it or
    miss(); picture() sees those whose picture is wanted, in any one thread.
    """

    def take(self, message: Any) -> Any:
        """Return what picture() takes: `header` is that of the message. Raises nothing."""

    def miss(self) -> None:
        """Know that messages between the last one and the next are lost."""

    def picture(self, taken: Any, seen_size: SeenSize | None = None) -> Picture:
        """Return a picture no finer than it is needed, see compressed_picture; or ImageError."""


class StillReader:
    """Reads messages that are a whole picture each; see ImageReader."""

    def __init__(self, convert: Callable[[Any, SeenSize | None], Picture]) -> None:
        """Prepare; convert: returns the picture of a message, or raises ImageError."""
        self._convert = convert

    def take(self, message: Any) -> Any:
        """Return the message."""
        return message

    def miss(self) -> None:
        """Do nothing: every picture stands alone."""

    def picture(self, taken: Any, seen_size: SeenSize | None = None) -> Picture:
        """Return the picture of a message."""
        return self._convert(taken, seen_size)
