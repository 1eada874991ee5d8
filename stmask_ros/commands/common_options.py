"""Options that several commands take."""

from __future__ import annotations

import argparse


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Add --overwrite, see stmask_ros.output_files."""
    parser.add_argument(
        '--overwrite', action='store_true',
        help='write where other files are, and replace those of the same names; all others stay',
    )
