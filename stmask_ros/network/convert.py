"""The command `stmask convert`: an official checkpoint becomes safetensors and a description."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]

logger = logging.getLogger(__name__)


def register(commands: SubParsers) -> None:
    """Add the command; it sets `run`, a function of the options."""
    text = 'turn an official checkpoint (.pth) into safetensors and a description of the model'
    parser = commands.add_parser('convert', help=text, description=(
        f'{text[0].upper()}{text[1:]}. The description (.yaml) is written beside OUT and is what '
        'a node loads. No code in the checkpoint is run.'
    ))
    parser.add_argument('checkpoint', type=Path, metavar='CHECKPOINT')
    parser.add_argument('out', type=Path, metavar='OUT.safetensors')
    parser.add_argument('--configuration', metavar='NAME', help='default: read from the tensors')
    parser.add_argument(
        '--classes', metavar='NAMES',
        help='youtube_vis_2019, youtube_vis_2021, ovis, a text file with a name a line, or names '
             'with commas between (default: what the configuration or their number tells)',
    )
    parser.add_argument(
        '--option', action='append', default=[], metavar='NAME=VALUE',
        help='an option that the tensors do not tell, such as temporal_roi=legacy; repeatable',
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Convert; return 1, with the reason in the log, if that cannot be done."""
    # Imported here, so that help does not wait for PyTorch.
    from stmask_ros.network.checkpoint import ModelError
    from stmask_ros.network.conversion import convert

    try:
        chosen = _parse_options(options.option)
        description = convert(
            options.checkpoint, options.out, options.configuration, options.classes, chosen
        )
    except (ModelError, OSError) as error:
        logger.error('%s', error)
        return 1
    logger.info(
        '%s: %s with %d classes, described by %s', options.out, description.configuration,
        len(description.classes), options.out.with_suffix('.yaml'),
    )
    return 0


def _parse_options(texts: list[str]) -> dict[str, Any]:
    from stmask_ros.network.checkpoint import ModelError

    options = {}
    for text in texts:
        name, equals, value = text.partition('=')
        if not equals:
            raise ModelError(f'--option {text}: expected NAME=VALUE')
        options[name] = yaml.safe_load(value)
    return options
