# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The commands `stmask train` and `stmask clips`."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from stmask_ros.commands.common_options import add_overwrite

if TYPE_CHECKING:
    SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]

_LOGGER = logging.getLogger(__name__)


def register(subparsers: SubParsers) -> None:
    """Add both commands; each sets `run`, a function of the options that returns an exit code."""
    train = subparsers.add_parser('train', help='train a model', description=(
        'Train a model as a YAML file says. The same command goes on where it was stopped; '
        'torchrun shares the work among GPUs and machines.'
    ))
    train.add_argument('config', type=Path, metavar='CONFIG', help='YAML, see docs/training.md')
    train.add_argument(
        '--overwrite', action='store_true',
        help='begin again, in place of the run that the folder holds',
    )
    train.add_argument('--device', choices=('auto', 'cpu', 'cuda'), default='auto')
    train.set_defaults(run=_train)
    text = 'write synthetic clips as a data set'
    clips = subparsers.add_parser('clips', help=text, description=(
        f'{text[0].upper()}{text[1:]}, in the format of YouTube-VIS: clips as the first synthetic '
        'data of a training has them.'
    ))
    clips.add_argument('config', type=Path, metavar='CONFIG', help='YAML file of a training')
    clips.add_argument('--out', type=Path, required=True, help='folder of the data set')
    add_overwrite(clips)
    clips.add_argument('--count', type=int, default=10, help='clips (default: 10)')
    clips.add_argument(
        '--seed', type=int, default=1, help='of the clips; training uses its own (default: 1)'
    )
    clips.set_defaults(run=_write_clips)


# What runs a network is imported when it is called, so that help does not wait for PyTorch.


def _train(options: argparse.Namespace) -> int:
    from stmask_ros.families.errors import ModelError
    from stmask_ros.output_files import claim
    from stmask_ros.training.config import read_config
    from stmask_ros.training.trainer import Trainer
    from stmask_ros.training.workers import joined_team

    try:
        config = read_config(options.config)
        claim(config.out, 'train', options.overwrite)
        with joined_team(options.device) as team:
            Trainer(config, team, overwrite=options.overwrite).run()
    except (ModelError, OSError, ValueError) as error:
        _LOGGER.error('%s', error)
        return 1
    except KeyboardInterrupt:
        _LOGGER.info('stopped; the same command goes on from the last checkpoint')
        return 130
    return 0


def _write_clips(options: argparse.Namespace) -> int:
    from stmask_ros.families.errors import TrainingError
    from stmask_ros.output_files import output_folder
    from stmask_ros.training.clip_files import write_clips
    from stmask_ros.training.config import read_config
    from stmask_ros.training.cutouts import Library
    from stmask_ros.training.sources import pictures_of
    from stmask_ros.training.synthetic import ClipGenerator

    try:
        with output_folder(options.out, 'clips', options.overwrite, [options.config]) as folder:
            config = read_config(options.config)
            if not config.synthetic:
                raise TrainingError(f'{options.config}: has no synthetic data')
            data = config.synthetic[0]
            library = Library.of(pictures_of(config, data), data.most_in_background)
            generator = ClipGenerator(library, data.clips, options.seed)
            clips = (generator.clip(number) for number in range(options.count))
            path = options.out / write_clips(folder, clips, config.classes).name
    except (OSError, ValueError) as error:
        _LOGGER.error('%s', error)
        return 1
    _LOGGER.info('%d clips: %s', options.count, path)
    return 0
