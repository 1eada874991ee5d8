# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Entry of the lifter node's process: `python -m stmask_ros.lifter.lifter_node`."""

from __future__ import annotations

from typing import NoReturn

from stmask_ros.ros import node_help
from stmask_ros.ros.early_end import EarlyEnd, end_process


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the node, as process.run() says, and end the process with its exit code."""
    if node_help.is_asked_for(arguments):
        from stmask_ros.lifter.parameters import LifterParameters
        from stmask_ros.ros.parameter_rules import described

        node_help.show(
            'lifter', 'Say where segmented objects are in space.',
            '-r instances:=/segmenter/instances', described(LifterParameters))
        end_process(0)
    early_end = EarlyEnd()
    # Importing takes a moment, in which a signal must end the process cleanly too.
    from stmask_ros.lifter.lifter import LifterNode
    from stmask_ros.ros.process import run

    end_process(run('lifter', LifterNode, arguments, early_end.stand_down))


if __name__ == '__main__':
    main()
