# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Hold steps of the families' networks of ResNet-50 against their share of arithmetic.

python -m benchmark.rates [--threads 1] [--repeats 5] [--output out]
prints, for each, what a step of one 640x360 image takes, the multiplications and additions of its
network (2 each, as PyTorch counts them in the plain network), those a second, and the time against
what that arithmetic would take at STMask's rate. The networks take turns; times are medians of
processor time, which other work on the machine does not stretch. The weights are fresh ones.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmark.step import CPU, fresh_model, now, picture
from benchmark.step_baseline import plain_segmenter
from stmask_ros.families.family import TrackerSettings
from stmask_ros.memory import keep_freed_memory
from stmask_ros.tracking.segmenter import VideoSegmenter

# The first sets the rate.
NETWORKS = {
    'stmask': 'STMask_plus_resnet50_ada', 'sipmask': 'sipmask_r50_caffe_fpn_gn_1x',
    'sgnet': 'sgnet_r50_caffe_fpn_gn_1x',
}
TRACKS = 20

Step = Callable[[], object]


def prepared(family: str, configuration: str) -> tuple[Step, float]:
    """Return a step of a stream that has tracks, and the GFLOP of the plain network's."""
    model, image = fresh_model(family, configuration), picture(640, 360)
    tracker = model.tracker(TrackerSettings(capacity=TRACKS))
    segmenter = VideoSegmenter(model, CPU, tracker, precision='float32')
    _, (state,) = segmenter.step([image], [segmenter.initial_state()])
    plain = plain_segmenter(model, CPU, tracker)
    with FlopCounterMode(display=False) as counter:
        plain.step([image], [state])
    segmenter.step([image], [state])
    return lambda: segmenter.step([image], [state]), counter.get_total_flops() / 1e9


def compare(repeats: int) -> list[dict[str, float | str]]:
    """Let the networks take turns; return a row each."""
    steps = {family: prepared(family, name) for family, name in NETWORKS.items()}
    times: dict[str, list[float]] = {family: [] for family in steps}
    for _ in range(repeats):
        for family, (step, _) in steps.items():
            start = now(CPU)
            step()
            times[family].append(now(CPU) - start)
    seconds = {family: statistics.median(its) for family, its in times.items()}
    first = next(iter(steps))
    rate = steps[first][1] / seconds[first]
    return [
        {'family': family, 'step_ms': 1e3 * seconds[family], 'gflop': gflop,
         'gflop_per_s': gflop / seconds[family], 'of_share': seconds[family] * rate / gflop}
        for family, (_, gflop) in steps.items()
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, print and write a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[1])
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--output', type=Path, default=Path('out'))
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    rows = compare(options.repeats)
    for row in rows:
        print('  '.join(
            f'{key} {value:.4g}' if isinstance(value, float) else value
            for key, value in row.items()))
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / 'rates.json').write_text(json.dumps(rows, indent=2) + '\n', encoding='utf-8')


if __name__ == '__main__':
    main()
