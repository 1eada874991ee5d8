# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The command that opens a page to label a folder on: `stmask label`."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]

_LOGGER = logging.getLogger(__name__)


def register(commands: SubParsers) -> None:
    """Add the command, which sets `run`, a function of the options."""
    parser = commands.add_parser(
        'label', help='label the pictures of a folder on a page in the browser',
        description='Serves a page to browsers of this machine, and prints its address. Click a '
                    'thing, or draw a box; every change is saved at once. See docs/teaching.md.')
    parser.add_argument('folder', type=Path, help='folder that `stmask bag export` wrote')
    parser.add_argument('--model', default='stmask_lite', help='name or path of a model')
    parser.add_argument('--device', default='auto', help='cpu, cuda or auto (default)')
    parser.add_argument('--port', type=int, default=0, help='default: any that is free')
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from stmask_ros.evaluation.dataset import DatasetError
    from stmask_ros.families.family import TrackerSettings
    from stmask_ros.labelling.background import carrying_on
    from stmask_ros.labelling.editor import Editor, locked
    from stmask_ros.labelling.folder import check_pictures, read_labels
    from stmask_ros.labelling.server import LabelServer
    from stmask_ros.labelling.viewer import Viewer
    from stmask_ros.tracking.segmenter import ModelError, load_segmenter

    try:
        check_pictures(options.folder, read_labels(options.folder))  # before the model is loaded
        segmenter = load_segmenter(
            options.model, options.device, TrackerSettings(score_threshold=0.05))
        with locked(options.folder):
            editor = Editor(options.folder, Viewer(options.folder, segmenter))
            with LabelServer(options.folder, editor, options.port) as server, carrying_on(editor):
                sys.stdout.write(f'open {server.address} in a browser; Ctrl+C ends\n')
                sys.stdout.flush()
                server.serve_forever()
    except KeyboardInterrupt:
        return 0
    except (DatasetError, ModelError, OSError, OverflowError, ValueError) as error:
        _LOGGER.error('%s', error)
        return 1
    return 0
