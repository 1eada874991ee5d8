# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Entry of the segmenter node's process: `python -m stmask_ros.node.segmenter_node`."""

from __future__ import annotations

from typing import NoReturn

from stmask_ros.installation import missing_libraries_explained
from stmask_ros.ros import node_help
from stmask_ros.ros.early_end import EarlyEnd, end_process


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the node, as process.run() says, and end the process with its exit code."""
    if node_help.is_asked_for(arguments):
        from stmask_ros.node.parameters import Parameters
        from stmask_ros.ros.parameter_rules import described

        node_help.show(
            'segmenter', 'Segment and track the objects in camera images.',
            '-r image:=/camera/image_raw -p autostart:=true', described(Parameters))
        end_process(0)
    early_end = EarlyEnd()
    # Importing PyTorch takes seconds, in which a signal must end the process cleanly too.
    with missing_libraries_explained():
        from stmask_ros.node.segmenter import SegmenterNode
        from stmask_ros.ros.process import run

    end_process(run('segmenter', SegmenterNode, arguments, early_end.stand_down))


if __name__ == '__main__':
    main()
