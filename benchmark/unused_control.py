# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
What run-time control costs a node that does not use it.

python -m benchmark.unused_control [--size 640x360] [--transport raw] [--rate 10] [--pairs 15]
    [--seconds 4]
runs the node of benchmark.node, whose step costs nothing, on images of one camera, with nothing
chosen and nobody listening to a view. In every second window of time, what it asks for each image
because users might have asked for something is left out: where to look, which objects are chosen,
who listens to a view. Prints the processor time of an image in both, without that of a second
without images, and the mean ratio of the windows in pairs with its standard error.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from benchmark.node import Case, free_segmenter, prepare, running, sender
from stmask_ros.node.camera_look import CameraLook
from stmask_ros.node.outputs import Outputs
from stmask_ros.node.selection_requests import SelectionRequests
from stmask_ros.tracking.view import View


@contextmanager
def plain() -> Iterator[None]:
    """Leave out of the node what asks for the wishes of its users."""
    views: dict[Any, View] = {}

    def whole(_look: CameraLook, _parameters: Any, size: Any) -> View:
        return views.get(size) or views.setdefault(size, View.whole(size))

    left_out: list[tuple[type, str, Callable[..., Any]]] = [
        (CameraLook, 'at', whole),
        (View, 'wanted_size', lambda view, scaled: scaled(view.size)),
        (SelectionRequests, 'remember', lambda *_: None),
        (SelectionRequests, 'advance', lambda *_: None),
        (Outputs, 'has_viewers', lambda _: False),
    ]
    with ExitStack() as patches:
        for kind, name, instead in left_out:
            patches.enter_context(mock.patch.object(kind, name, instead))
        yield


def main() -> None:
    """Measure and print."""
    options = _parser().parse_args()
    width, height = map(int, options.size.split('x'))
    prepare()
    segmenter = free_segmenter()
    case = Case(width, height, options.transport, 1)

    def window() -> float:
        before, time_before = segmenter.answered, time.process_time()
        time.sleep(options.seconds)
        spent = 1e3 * (time.process_time() - time_before) - idle * options.seconds
        return spent / (segmenter.answered - before)

    pairs = []
    with running(case):
        time_before = time.process_time()
        time.sleep(options.seconds)
        idle = 1e3 * (time.process_time() - time_before) / options.seconds
        with sender(case, options.rate):
            while segmenter.answered < 2 * options.rate:
                time.sleep(0.1)
            for _ in range(options.pairs):
                with plain():
                    without = window()
                pairs.append((without, window()))
    ratios = [whole / without for without, whole in pairs]
    error = statistics.stdev(ratios) / len(ratios) ** 0.5
    print(f'processor time of an image [ms]: without {statistics.mean(p[0] for p in pairs):.3f}, '
          f'as it is {statistics.mean(p[1] for p in pairs):.3f}; '
          f'ratio {statistics.mean(ratios):.3f} +- {error:.3f} of {len(pairs)} pairs')


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[1])
    parser.add_argument('--size', default='640x360')
    parser.add_argument('--transport', default='raw')
    parser.add_argument('--rate', type=float, default=10.0, help='images a second')
    parser.add_argument('--pairs', type=int, default=15)
    parser.add_argument('--seconds', type=float, default=4.0, help='of a window')
    return parser


if __name__ == '__main__':
    main()
