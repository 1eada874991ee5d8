# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The commands `stmask weights` and `stmask convert`: from an official checkpoint to a model."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from stmask_ros.commands.common_options import add_overwrite

if TYPE_CHECKING:
    from stmask_ros.families.family import AnyFamily, OfficialCheckpoint
    from stmask_ros.models.checkpoint import ModelDescription

    SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]

logger = logging.getLogger(__name__)

_FRAMES = 2  # the least that temporal fusion takes part in
_SHOWN = 5


def register(commands: SubParsers) -> None:
    """Add both commands; each sets `run`, a function of the options."""
    text = 'list the official checkpoints, or convert one that you have downloaded'
    weights = commands.add_parser('weights', help=text, description=(
        f'{text[0].upper()}{text[1:]}. Without a subcommand: list. Nothing is downloaded.'
    ))
    weights.set_defaults(run=run_list)
    subcommands = weights.add_subparsers(metavar='WHAT')
    listing = subcommands.add_parser('list', help='what there is, its published AP, and where')
    listing.set_defaults(run=run_list)
    _register_convert(subcommands, 'turn a checkpoint into a model that a node loads')
    _register_convert(commands, 'short for `stmask weights convert`')


def _register_convert(commands: SubParsers, text: str) -> None:
    parser = commands.add_parser('convert', help=text, description=(
        'Recognise an official checkpoint (.pth), verify it, and turn it into safetensors and a '
        'description (.yaml) beside it, which is what a node loads. No code in the checkpoint is '
        'run.'
    ))
    parser.add_argument('checkpoint', type=Path, metavar='CHECKPOINT')
    parser.add_argument(
        'out', type=Path, nargs='?', metavar='OUT.safetensors',
        help='default: beside the checkpoint, under its name',
    )
    add_overwrite(parser)
    parser.add_argument('--configuration', metavar='NAME', help='default: read from the tensors')
    parser.add_argument(
        '--classes', metavar='NAMES',
        help='youtube_vis_2019, youtube_vis_2021, ovis, a text file with a name a line, or names '
             'with commas between (default: what the configuration, their number or the name of '
             'an official file tells)',
    )
    parser.add_argument(
        '--option', action='append', default=[], metavar='NAME=VALUE',
        help='an option that the tensors do not tell, such as temporal_roi=legacy; repeatable',
    )
    parser.set_defaults(run=run_convert)


def run_list(_options: argparse.Namespace) -> int:
    """Write the table of the official checkpoints; return 0."""
    # Imported here, as below, so that help does not wait for PyTorch.
    from stmask_ros.families.all import FAMILIES

    lines = [line for family in FAMILIES for line in _table(family)]
    sys.stdout.write('\n'.join(lines) + """
Mask AP on the validation videos of the data set (YouTube-VIS 2019 where nothing else is said), as
published there and not measured again here. "Within classes": if only boxes of one class suppress
each other; in the first column, as this package does by default.

Download one with a browser, then: stmask weights convert FILE.pth
""")
    return 0


def _table(family: AnyFamily) -> list[str]:
    title = f'{family.name}, published on {family.page}'
    heading = f'{"file (.pth)":<36}   AP  {"":<19}  download'
    rows = [_line(checkpoint) for checkpoint in family.official]
    return [title, heading, *(rows or ['none: code only']), '']


def _line(checkpoint: OfficialCheckpoint) -> str:
    ap = '-' if checkpoint.ap is None else f'{checkpoint.ap:.1f}'
    return f'{checkpoint.name:<36} {ap:>4}  {checkpoint.remark:<19}  {checkpoint.link}'


def run_convert(options: argparse.Namespace) -> int:
    """Convert; return 1, with the reason in the log, if that cannot be done."""
    from stmask_ros.families.errors import ModelError
    from stmask_ros.models.conversion import convert

    out = options.out or options.checkpoint.with_suffix('.safetensors')
    try:
        chosen = _parse_options(options.option)
        description = convert(
            options.checkpoint, out, options.configuration, options.classes, chosen,
            options.overwrite,
        )
        seen = _seen_in_the_built_in_clip(out)
    except (ModelError, OSError) as error:
        logger.error('%s', error)
        return 1
    _tell(description, out, seen)
    return 0


def _tell(description: ModelDescription, out: Path, seen: str) -> None:
    logger.info(
        'recognised %s with %d classes, from %s', description.configuration,
        len(description.classes), description.source,
    )
    logger.info('all weights and outputs are finite; in the built-in clip it sees %s', seen)
    logger.info('written %s; for a node: model:=%s', out, out.with_suffix('.yaml'))


def _seen_in_the_built_in_clip(model: Path) -> str:
    """Load what was written as a node does, and name what it finds; the clip shows two objects."""
    from stmask_ros.sources.built_in_clip import BuiltInClip
    from stmask_ros.tracking.segmenter import load_segmenter

    segmenter, clip = load_segmenter(model), BuiltInClip()
    state = segmenter.initial_state()
    for number in range(_FRAMES):
        (result,), (state,) = segmenter.step([clip.frame(number / clip.rate)], [state])
    best = sorted(zip(result.scores, result.class_ids, strict=True), reverse=True)[:_SHOWN]
    names = [f'{segmenter.class_names[number - 1]} ({score:.2f})' for score, number in best]
    return ', '.join(names) or 'nothing'


def _parse_options(texts: list[str]) -> dict[str, Any]:
    from stmask_ros.families.errors import ModelError

    options = {}
    for text in texts:
        name, equals, value = text.partition('=')
        if not equals:
            raise ModelError(f'--option {text}: expected NAME=VALUE')
        options[name] = yaml.safe_load(value)
    return options
