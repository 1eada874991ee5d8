"""Entry of the segmenter node's process: `python -m stmask_ros.node.segmenter_node`."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the node, as process.run() says, and end the process with its exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    # Importing PyTorch takes seconds, in which a signal must end the process cleanly too.
    from stmask_ros.node.process import run
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    code = run(arguments)
    # A thread may still be inside a step, which the interpreter cannot take down; and without one
    # it spends a second on taking down PyTorch. The node is gone: nothing is left to tidy up.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _leave(_number: int, _frame: FrameType | None) -> None:
    """End at once: before the node exists there is nothing to tidy up."""
    os._exit(0)


if __name__ == '__main__':
    main()
