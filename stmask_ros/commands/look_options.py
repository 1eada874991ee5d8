# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Options of what to look for, and where: the node's parameters of these names."""

from __future__ import annotations

import argparse
import json


def add_look(parser: argparse.ArgumentParser) -> None:
    """Add --classes, --region, --ignore-mask and --crop."""
    parser.add_argument(
        '--classes', nargs='+', default=[], metavar='CLASS',
        help='names or numbers of the classes to look for (default: all)')
    parser.add_argument(
        '--region', default='',
        help="where objects are: '0 0.2 1 1' (x y x y of two corners) or '0 0, 90 0, 50 99', in "
             'pixels, or in fractions of the image if none is above 1')
    parser.add_argument(
        '--ignore-mask', default='', metavar='PNG',
        help='picture whose pixels that are not black never count, stretched over the images')
    parser.add_argument(
        '--crop', action='store_true', help='show the network the region alone, larger')


def look_parameters(options: argparse.Namespace) -> list[str]:
    """Return the arguments that ask a segmenter node for the same."""
    texts = {
        'classes': options.classes, 'region': [options.region],
        'ignore_mask': [options.ignore_mask],
    }
    values = {name: list(value) or [''] for name, value in texts.items()} | {'crop': options.crop}
    return [word for name, value in values.items()
            for word in ('-p', f'{name}:={json.dumps(value)}')]
