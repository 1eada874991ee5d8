# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The command line: `stmask COMMAND`."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from stmask_ros.commands import evaluation as evaluation
from stmask_ros.commands import export as export
from stmask_ros.commands import label as label
from stmask_ros.commands import teaching as teaching
from stmask_ros.commands import training as training
from stmask_ros.commands import weights as weights
from stmask_ros.commands.common_options import add_overwrite
from stmask_ros.commands.look_options import add_look
from stmask_ros.memory import keep_freed_memory


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; each sets `run`, a function of the arguments."""
    parser = argparse.ArgumentParser(
        prog='stmask', description='Persistent instance masks from video (STMask).'
    )
    commands = parser.add_subparsers(required=True, metavar='COMMAND')
    _register_demo(commands)
    evaluation.register(commands)
    weights.register(commands)
    export.register(commands)
    label.register(commands)
    training.register(commands)
    teaching.register(commands)
    return parser


def _register_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    demo = commands.add_parser(
        'demo', help='run camera and segmenter as ROS 2 nodes, record them, show the result'
    )
    demo.add_argument('--out', default='out/demo', help='folder for the result')
    add_overwrite(demo)
    demo.add_argument(
        '--source', default='',
        help='video file, folder of images, bag or device:N; the built-in clip without it',
    )
    demo.add_argument(
        '--topic', default='', help='image topic of a bag; the likeliest without it'
    )
    demo.add_argument('--model', default='stmask_lite', help='name or path of a model')
    demo.add_argument('--device', default='auto', help='cpu, cuda or auto')
    demo.add_argument(
        '--rate', type=float, default=10.0, help="images a second; 0 for the source's own"
    )
    demo.add_argument(
        '--birth-threshold', type=float, default=0.2,
        help='lowest score of a detection that starts a track, 0 to 1',
    )
    add_look(demo)
    demo.add_argument(
        '--depth', action='store_true',
        help='a synthetic room with depth through camera, segmenter and lifter, seen from above',
    )
    demo.set_defaults(run=_run_demo)


def _run_demo(arguments: argparse.Namespace) -> int:
    # Imported here, because it needs ROS 2 and the other commands do not.
    from stmask_ros.commands.demo import run_demo

    if arguments.depth:
        from stmask_ros.commands.demo_depth import run_depth_demo

        return run_depth_demo(arguments)
    return run_demo(arguments)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code."""
    logging.basicConfig(level=logging.INFO, format='%(levelname)s: %(message)s')
    keep_freed_memory()
    arguments = build_parser().parse_args(argv)
    code: int = arguments.run(arguments)
    return code


if __name__ == '__main__':
    sys.exit(main())
