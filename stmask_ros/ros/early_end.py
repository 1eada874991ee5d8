# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""How a node's process ends before ROS handles its signals, and after its node is gone."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn


class EarlyEnd:
    """
    Ends the process at once at SIGINT or SIGTERM, as long as there is nothing to tidy up.

    It stays installed, since ROS puts its own handlers on top of what it finds.
    """

    def __init__(self) -> None:
        """Listen to both signals from now on."""
        self._early = True
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._leave)

    def stand_down(self) -> None:
        """Leave signals to ROS from now on."""
        self._early = False

    def _leave(self, _number: int, _frame: FrameType | None) -> None:
        if self._early:
            os._exit(0)


def end_process(code: int) -> NoReturn:
    """
    End the process with an exit code, without taking the interpreter down.

    A thread may still be inside a step, which the interpreter cannot take down; and without one
    it spends a second on taking down PyTorch. The node is gone: nothing is left to tidy up.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
