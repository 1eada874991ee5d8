# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Options that several commands take."""

from __future__ import annotations

import argparse


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Add --overwrite, see stmask_ros.output_files."""
    parser.add_argument(
        '--overwrite', action='store_true',
        help='write where other files are, and replace those of the same names; all others stay',
    )


def add_skip_bad(parser: argparse.ArgumentParser) -> None:
    """Add --skip-bad, see stmask_ros.evaluation.records.BadEntries."""
    parser.add_argument(
        '--skip-bad', action='store_true',
        help='leave out entries of the JSON files that are not as the format has them, and say '
             'how many, instead of ending at the first',
    )
