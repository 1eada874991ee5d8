# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The commands `stmask teach` and `stmask report`."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from stmask_ros.commands.common_options import add_overwrite

if TYPE_CHECKING:
    from stmask_ros.teaching.class_plan import ClassChanges
    from stmask_ros.teaching.run import RunOptions
    from stmask_ros.teaching.teacher import Taught, Teacher

    SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]

_LOGGER = logging.getLogger(__name__)


def register(commands: SubParsers) -> None:
    """Add both commands; each sets `run`, a function of the options that returns an exit code."""
    _register_teach(commands)
    _register_report(commands)


def _register_teach(commands: SubParsers) -> None:
    text = 'teach a model new classes from labelled frames'
    parser = commands.add_parser('teach', help=text, description=(
        f'{text[0].upper()}{text[1:]}: a new model comes out. Its features stay, so that it takes '
        'minutes. The same command goes on where it was stopped.'
    ))
    parser.add_argument('model', metavar='MODEL', help='name or path of the model before')
    parser.add_argument(
        'data', type=Path, metavar='DATA',
        help='folder with images/ and annotations.json, as `stmask bag export` and `stmask label` '
             'leave it',
    )
    parser.add_argument(
        '--out', type=Path, default=Path('out/teach'), help='folder of the new model')
    add_overwrite(parser)
    parser.add_argument('--name', help="of the new model (default: the folder's)")
    _add_classes(parser)
    _add_run(parser)
    parser.set_defaults(run=_teach)


def _register_report(commands: SubParsers) -> None:
    text = 'show what changed between two models on the images of a bag'
    parser = commands.add_parser('report', help=text, description=(
        f'{text[0].upper()}{text[1:]}: AP by class where there are annotations, identities, '
        'pictures side by side and speed, in one HTML file. The models take turns on each image.'
    ))
    parser.add_argument('before', metavar='BEFORE', help='name or path of a model')
    parser.add_argument('after', metavar='AFTER', help='name or path of another')
    parser.add_argument(
        'bag', type=Path, metavar='BAG', help='rosbag2 folder, or .mcap or .db3 file')
    parser.add_argument('--topic', default='', help='topic of the images (default: the likeliest)')
    parser.add_argument(
        '--annotations', type=Path, help="of the bag's images, as `stmask eval bag` takes them")
    parser.add_argument('--video', metavar='NAME', help='the video of the annotations')
    parser.add_argument(
        '--class-agnostic', action='store_true', help='take all classes of the annotations as one')
    parser.add_argument(
        '--out', type=Path, default=Path('out/report.html'), help='file of the page')
    add_overwrite(parser)
    parser.add_argument('--device', default='auto', help='cpu, cuda or auto (default)')
    parser.add_argument(
        '--torch-threads', type=int, default=1, metavar='N', help='CPU threads (default: 1)')
    parser.add_argument(
        '--max-gap', type=float, default=10.0, metavar='SECONDS',
        help='longest pause between the stamps of two images of one epoch (default: 10; 0: none)',
    )
    parser.set_defaults(run=_report)


def _add_classes(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('classes')
    group.add_argument(
        '--keep', nargs='*', metavar='CLASS',
        help='classes of the model that the new one has, too (default: all)',
    )
    group.add_argument(
        '--replace', nargs='+', default=[], metavar='CLASS',
        help='classes of the model to be learned anew from the labelled objects of that name',
    )
    group.add_argument(
        '--merge', nargs='+', default=[], metavar='NEW=A,B', type=_merged,
        help='classes that become one, of the model, of the labelled objects, or of both',
    )


def _add_run(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('run')
    group.add_argument(
        '--iterations', type=int, default=500, help='at most (default: 500)')
    group.add_argument(
        '--lessons', type=int, default=240,
        help='pictures to make of the frames: crops, mirrored, in other light (default: 240)',
    )
    group.add_argument('--seed', type=int, default=1, help='of all that is drawn (default: 1)')
    group.add_argument('--device', default='auto', help='cpu, cuda or auto (default)')
    group.add_argument(
        '--torch-threads', type=int, default=1, metavar='N', help='CPU threads (default: 1)')


def _merged(text: str) -> tuple[str, list[str]]:
    name, equals, parts = text.partition('=')
    if not (name and equals and parts):
        raise argparse.ArgumentTypeError(f'expected NEW=A,B, got {text!r}')
    return name, parts.split(',')


# What runs a network is imported when it is called, so that help does not wait for PyTorch.


def _report(options: argparse.Namespace) -> int:
    from stmask_ros.commands.report import run

    return run(options)


def _teach(options: argparse.Namespace) -> int:
    from stmask_ros.evaluation.dataset import DatasetError
    from stmask_ros.evaluation.report import text_table
    from stmask_ros.families.errors import ModelError

    try:
        import torch

        from stmask_ros.models.checkpoint import load_model
        from stmask_ros.teaching.card import summary
        from stmask_ros.teaching.material import read_material
        from stmask_ros.teaching.teacher import Teacher
        from stmask_ros.tracking.placement import device_named

        run_options, changes = _chosen(options)
        name = options.name or options.out.resolve().name
        if Path(name).name != name:
            raise ValueError(f'--name: expected a name without folders, got {name!r}')
        torch.set_num_threads(options.torch_threads)
        material = read_material(options.data)
        teacher = Teacher(
            load_model(options.model), material, changes, run_options,
            device_named(options.device))
        if material.idle_classes:
            _LOGGER.warning('no labelled frame shows %s: nothing is learned of it',
                            ', '.join(material.idle_classes))
        _LOGGER.info('held out: %s', teacher.split.described(material))
        taught, path = _taught(teacher, options.out, name, options.overwrite)
    except (DatasetError, ModelError, OSError, ValueError) as error:
        _LOGGER.error('%s', error)
        return 1
    except KeyboardInterrupt:
        _LOGGER.info('stopped; the same command goes on from the last checkpoint')
        return 130
    table = text_table(('mask AP [%]', 'before', 'after'), summary(taught))
    sys.stdout.write(f'{table}\n\nmodel: {path}\n')
    return 0


def _taught(teacher: Teacher, folder: Path, name: str, overwrite: bool) -> tuple[Taught, Path]:
    """Teach in a folder that no other run writes into meanwhile; return the model's path, too."""
    from stmask_ros.output_files import claim, locked
    from stmask_ros.teaching.card import write_model
    from stmask_ros.teaching.run import CHECKPOINT

    claim(folder, 'teach', overwrite)
    with locked(folder, f'another stmask teach is writing into {folder}: wait for its end, or '
                'choose another --out'):
        if overwrite:
            (folder / CHECKPOINT).unlink(missing_ok=True)
        taught = teacher.teach(folder, name)
        return taught, write_model(folder, taught, teacher.material)


def _chosen(options: argparse.Namespace) -> tuple[RunOptions, ClassChanges]:
    """Return what the options ask for; ValueError for values out of range."""
    from stmask_ros.teaching.class_plan import ClassChanges
    from stmask_ros.teaching.run import RunOptions

    if options.torch_threads < 1:
        raise ValueError(f'--torch-threads: expected 1 or more, got {options.torch_threads}')
    changes = ClassChanges(options.keep, options.replace, dict(options.merge))
    return RunOptions(
        iterations=options.iterations, lessons=options.lessons, seed=options.seed), changes
