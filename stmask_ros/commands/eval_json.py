# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The command that scores a results.json: `stmask eval json GROUND_TRUTH PREDICTIONS`."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stmask_ros.commands.common_options import add_overwrite, add_skip_bad
from stmask_ros.evaluation.dataset import DatasetError, load_dataset, load_predictions
from stmask_ros.evaluation.identity import evaluate_identity
from stmask_ros.evaluation.report import (
    identity_json,
    identity_table,
    vis_json,
    vis_table,
)
from stmask_ros.evaluation.video_iou import measure_overlaps
from stmask_ros.evaluation.vis_metric import evaluate_vis
from stmask_ros.output_files import OutputError, check_free, write_whole

if TYPE_CHECKING:
    SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]

_LOGGER = logging.getLogger(__name__)


def register(subcommands: SubParsers) -> None:
    """Add the subcommand `json`; its `run` default takes the parsed options."""
    parser = subcommands.add_parser(
        'json',
        help='score a results.json against annotations',
        description='Score a results.json (or the submission zip) against annotations in the '
                    'YouTube-VIS format: track AP, and whether objects keep their ids.',
    )
    add_arguments(parser)
    parser.set_defaults(run=run)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `run` reads."""
    parser.add_argument('ground_truth', type=Path, help='annotations, JSON')
    parser.add_argument('predictions', type=Path, help='results.json, or a zip with it')
    parser.add_argument(
        '--score-threshold', type=float, metavar='SCORE',
        help='leave predictions with a lower score out of the identity metrics (default: none)',
    )
    parser.add_argument(
        '--reference-quirks', action='store_true',
        help='reproduce the bugs of the reference metric: a match with annotation id 0 does not '
             'count; frames of unequal image size or of only one of the two tracks cost nothing',
    )
    parser.add_argument('--output', type=Path, metavar='FILE', help='write all numbers as JSON')
    add_overwrite(parser)
    add_skip_bad(parser)


def run(options: argparse.Namespace) -> int:
    """Score, write the tables to standard output, and return the exit status."""
    try:
        if options.output is not None:
            check_free(options.output, options.overwrite)
        dataset = load_dataset(options.ground_truth, options.skip_bad)
        predictions = load_predictions(options.predictions, dataset, options.skip_bad)
    except (DatasetError, OSError) as error:
        _LOGGER.error('%s', error)
        return 1
    overlaps = measure_overlaps(dataset, predictions)
    vis = evaluate_vis(
        dataset, predictions, reference_quirks=options.reference_quirks, overlaps=overlaps
    )
    identity = evaluate_identity(
        dataset, predictions, score_threshold=options.score_threshold, overlaps=overlaps
    )
    sys.stdout.write(
        f'{vis_table(vis, dataset)}\n\n{identity_table(identity, dataset)}\n'
    )
    if options.output is not None:
        document = {'vis': vis_json(vis), 'identity': identity_json(identity)}
        return _write(options.output, document)
    return 0


def _write(path: Path, document: Mapping[str, Any]) -> int:
    try:
        write_whole(path, json.dumps(document, indent=2) + '\n')
    except OutputError as error:
        _LOGGER.error('%s', error)
        return 1
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command on its own: `python -m stmask_ros.evaluation`."""
    logging.basicConfig(format='%(levelname)s: %(message)s')
    parser = argparse.ArgumentParser(prog='python -m stmask_ros.evaluation')
    add_arguments(parser)
    return run(parser.parse_args(arguments))
