# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The command `stmask export`: a model's network as an engine loads it, written ahead of time."""

from __future__ import annotations

import argparse
import logging
import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]

_LOGGER = logging.getLogger(__name__)


def register(commands: SubParsers) -> None:
    """Add the command; it sets `run`, a function of the options."""
    text = "write a model's network for an engine, as a node does that finds none"
    parser = commands.add_parser('export', help=text, description=(
        f"{text[0].upper()}{text[1:]}: beside the model, under a name that tells the weights and "
        "the engine's version, or in the user's cache where nothing can be written there. It is "
        'then loaded once.'
    ))
    parser.add_argument('model', metavar='MODEL', help='name or path of a model')
    parser.add_argument(
        '--engine', choices=('onnxruntime', 'openvino', 'tensorrt'), required=True,
        help='that is to run it',
    )
    parser.add_argument('--device', default='auto', help='cpu, cuda or auto (default)')
    parser.add_argument(
        '--precision', choices=('auto', 'float32', 'float16', 'bfloat16'), default='auto',
        help='in which it is to run (default: auto)',
    )
    parser.add_argument(
        '--image-size', type=image_size, metavar='WIDTHxHEIGHT',
        help='of the images, for a network whose input follows their shape (default: 16:9)',
    )
    parser.set_defaults(run=run_export)


def image_size(text: str) -> tuple[int, int]:
    """Return the height and width of WIDTHxHEIGHT."""
    match = re.fullmatch(r'([1-9]\d{0,4})x([1-9]\d{0,4})', text)
    if match is None:
        raise argparse.ArgumentTypeError(f'expected WIDTHxHEIGHT, such as 640x480, got {text!r}')
    return int(match[2]), int(match[1])


def run_export(options: argparse.Namespace) -> int:
    """Export; return 1, with the reason in the log, if that cannot be done."""
    # Imported here, so that help does not wait for PyTorch.
    import numpy as np

    from stmask_ros.families.errors import ModelError
    from stmask_ros.tracking.segmenter import load_segmenter

    try:
        segmenter = load_segmenter(
            options.model, options.device, precision=options.precision, engine=options.engine,
            tell=_LOGGER.info,
        )
        if options.image_size is not None:
            image = np.zeros((*options.image_size, 3), np.uint8)
            segmenter.step([image], [segmenter.initial_state()])
    except (ModelError, OSError) as error:
        _LOGGER.error('%s', error)
        return 1
    sys.stdout.write(
        f'{segmenter.model_name} is ready for {segmenter.engine} on {segmenter.device} in '
        f'{segmenter.precision}\n'
    )
    return 0
