# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Time steps of MS-STS: against window, resolution and queries, and what keeping memories saves.

python -m benchmark.msts [--configuration msts_lite] [--repeats 3] [--threads 1]
    [--tables window resolution queries kept bounded] [--frames 20000] [--output out]
prints a table each and writes msts_CONFIGURATION.json. A step is from a uint8 image on the host
to results on the host, with a full window, on the CPU. Times are medians of processor time, which
other work on the machine does not stretch. `kept` compares a step with evaluating its whole window
anew, taking turns. `bounded` runs many frames of a small network and looks at the memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stmask_ros.families.frames import Image
from stmask_ros.families.msts.config import MSTSConfig
from stmask_ros.families.msts.family import MSTS_FAMILY
from stmask_ros.models.checkpoint import Model, ModelDescription
from stmask_ros.tracking.segmenter import VideoSegmenter

CPU = torch.device('cpu')
SIZE = (360, 640)
WINDOWS = (1, 2, 3, 5, 8)
SHORT_SIDES = (120, 192, 360)
QUERIES = (20, 50, 100, 300)
PICTURES = 8
SMALL = {'channels': 64, 'feedforward': 64, 'queries': 10, 'encoder_layers': 1,
         'decoder_layers': 1, 'short_side': 32, 'window': 5}

Row = dict[str, float]


class Bench:
    """Segmenters of one configuration, with fresh weights."""

    def __init__(self, configuration: str, repeats: int, frames: int) -> None:
        """frames: of the table `bounded`."""
        self.configuration = configuration
        self.repeats = repeats
        self.frames = frames

    def segmenter(self, **options: Any) -> VideoSegmenter:
        """Return a segmenter with options changed."""
        config = MSTSConfig.named(self.configuration, **options)
        network = MSTS_FAMILY.build(config)
        MSTS_FAMILY.initialise(network, 0)
        description = ModelDescription(
            'fresh', self.configuration, tuple(map(str, range(config.num_classes))),
            family='msts',
        )
        model = Model(description, network.eval(), 'fresh')
        return VideoSegmenter(model, CPU, model.tracker())

    def window(self) -> list[Row]:
        """Time a step with windows of so many frames."""
        return [{'frames': count, **self._step(window=count)} for count in WINDOWS]

    def resolution(self) -> list[Row]:
        """Time a step with images of so long a short side."""
        return [{'short_side': side, **self._step(short_side=side)} for side in SHORT_SIDES]

    def queries(self) -> list[Row]:
        """Time a step with so many queries."""
        return [{'queries': count, **self._step(queries=count)} for count in QUERIES]

    def kept(self) -> list[Row]:
        """Compare a step with evaluating all frames of its window anew."""
        segmenter = self.segmenter()
        count = segmenter.network.config.window
        images = [picture(i) for i in range(count)]
        state = self._filled(segmenter)

        def anew() -> None:
            segmenter.whole_video(images)

        def step() -> None:
            segmenter.step([images[-1]], [state])

        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(self.repeats):
            times[0].append(processor_ms(step))
            times[1].append(processor_ms(anew))
        kept, all_of_it = (statistics.median(its) for its in times)
        return [{'window': count, 'step_ms': kept, 'anew_ms': all_of_it,
                 'ratio': all_of_it / kept, 'least_ratio': min(times[1]) / max(times[0])}]

    def bounded(self) -> list[Row]:
        """Look at a stream's memory, and the process's, after so many frames."""
        segmenter = Bench('msts_lite', 1, 0).segmenter(**SMALL)
        state, rows = segmenter.initial_state(), []
        images = [picture(i, (32, 48)) for i in range(PICTURES)]
        for number in range(1, self.frames + 1):
            _, (state,) = segmenter.step([images[number % PICTURES]], [state])
            if number in (10, self.frames // 4, self.frames // 2, self.frames):
                rows.append({
                    'frame': number, 'tracks': len(state.memory.tracks),
                    'ids_given': state.next_id - 1, 'state_KiB': state_bytes(state) / 1024,
                    'process_MiB': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                })
        return rows

    def _step(self, **options: Any) -> Row:
        segmenter = self.segmenter(**options)
        state = self._filled(segmenter)
        image = picture(0)
        segmenter.step([image], [state])
        times = [processor_ms(lambda: segmenter.step([image], [state]))
                 for _ in range(self.repeats)]
        return {'step_ms': statistics.median(times), 'state_MiB': state_bytes(state) / 2**20}

    def _filled(self, segmenter: VideoSegmenter) -> Any:
        # The state of a stream whose window is full after the next frame.
        state = segmenter.initial_state()
        for number in range(segmenter.network.config.window - 1):
            _, (state,) = segmenter.step([picture(number)], [state])
        return state


TABLES: dict[str, Callable[[Bench], list[Row]]] = {
    'window': Bench.window, 'resolution': Bench.resolution, 'queries': Bench.queries,
    'kept': Bench.kept, 'bounded': Bench.bounded,
}


def picture(seed: int, size: tuple[int, int] = SIZE) -> Image:
    """Return coarse noise, uint8 BGR."""
    height, width = size
    cells = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return np.asarray(cells.repeat(8, 0).repeat(8, 1))


def processor_ms(call: Callable[[], Any]) -> float:
    """Return how long the processor works on a call [ms]."""
    start = time.process_time()
    call()
    return 1000 * (time.process_time() - start)


def state_bytes(value: Any) -> int:
    """Return the memory that the tensors and arrays of a state hold, views with what they show."""
    return sum({
        (its.untyped_storage().data_ptr() if isinstance(its, Tensor) else id(its)):
        (its.untyped_storage().nbytes() if isinstance(its, Tensor) else its.nbytes)
        for its in _arrays(value)
    }.values())


def _arrays(value: Any) -> list[Any]:
    if isinstance(value, Tensor | np.ndarray):
        return [value]
    parts: Sequence[Any] = ()
    if is_dataclass(value):
        parts = [getattr(value, field.name) for field in fields(value)]
    elif isinstance(value, tuple):
        parts = value
    return [array for part in parts for array in _arrays(part)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill the tables that were asked for, print and write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--configuration', default='msts_lite', choices=MSTSConfig.names())
    parser.add_argument('--tables', nargs='+', default=list(TABLES), choices=list(TABLES))
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--frames', type=int, default=20_000)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--output', type=Path, default=Path('out'))
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    bench = Bench(options.configuration, options.repeats, options.frames)
    report = {}
    for name in options.tables:
        report[name] = TABLES[name](bench)
        print(f'\n{name}')
        for row in report[name]:
            print('  '.join(f'{key} {value:.4g}' for key, value in row.items()), flush=True)
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / f'msts_{options.configuration}.json'
    path.write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')


if __name__ == '__main__':
    main()
