"""Entry of the segmenter node's process: `python -m stmask_ros.node.segmenter_node`."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the node, as process.run() says, and end the process with its exit code."""
    early_end = _EarlyEnd()
    # Importing PyTorch takes seconds, in which a signal must end the process cleanly too.
    from stmask_ros.node.process import run
    code = run(arguments, early_end.stand_down)
    # A thread may still be inside a step, which the interpreter cannot take down; and without one
    # it spends a second on taking down PyTorch. The node is gone: nothing is left to tidy up.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class _EarlyEnd:
    """
    Ends the process at once at SIGINT or SIGTERM, as long as there is nothing to tidy up.

    It stays installed, since ROS puts its own handlers on top of what it finds.
    """

    def __init__(self) -> None:
        self._early = True
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._leave)

    def stand_down(self) -> None:
        """Leave signals to ROS from now on."""
        self._early = False

    def _leave(self, _number: int, _frame: FrameType | None) -> None:
        if self._early:
            os._exit(0)


if __name__ == '__main__':
    main()
