# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Time the evaluation against plain loops over pycocotools, on the same files in the same run.

python -m benchmark.evaluation [--videos 300] [--frames 30] [--repeats 3] [--output out]
prints a table and writes evaluation.json. Times are from the files to the scores, reading
included; a comparison is the ratio of medians. Both sides use one core: where others use the
machine too, compare CPU times. Stops if the two sides' scores differ.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from benchmark import evaluation_baseline as baseline
from benchmark.evaluation_data import write_data
from stmask_ros.evaluation import (
    evaluate_identity,
    evaluate_vis,
    load_dataset,
    load_predictions,
)

Scores = tuple[float, ...]
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Seconds:
    """Time passed, and that of the processor: alone comparable where others use the machine."""

    elapsed: float
    cpu: float


@dataclass(frozen=True)
class Comparison:
    """Two ways to the same scores, as functions of the two files."""

    name: str
    ours: Callable[[Path, Path], Scores]
    plain: Callable[[Path, Path], Scores]


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the data, run both sides in turn, print and write the result."""
    options = _parser().parse_args(arguments)
    truth, predictions = write_data(options.output / 'data', options.videos, options.frames)
    results = [
        _run(comparison, truth, predictions, options.repeats) for comparison in COMPARISONS
    ]
    _add_scoring_ratios(results)
    report = {
        'host': {'machine': platform.machine(), 'system': platform.platform(),
                 'cores': os.cpu_count(), 'load_average': os.getloadavg()[0]},
        'versions': {'python': platform.python_version(), 'numpy': np.__version__,
                     'scipy': scipy.__version__, 'pycocotools': version('pycocotools')},
        'input': {'videos': options.videos, 'frames': options.frames,
                  'sha256': [_hash(path) for path in (truth, predictions)]},
        'results': results,
    }
    path = options.output / 'evaluation.json'
    path.write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')
    print(f'{"":32}{"ours [s]":>10}{"plain [s]":>11}{"ratio":>8}{"CPU time: ratio":>17}'
          f'{"without reading":>17}')
    for row in results:
        scoring = row.get('cpu_ratio_without_reading')
        print(f'{row["name"]:32}{row["ours_median_s"]:10.2f}{row["plain_median_s"]:11.2f}'
              f'{row["ratio"]:8.1f}{row["cpu_ratio"]:17.1f}'
              + (f'{scoring:17.1f}' if scoring else ''))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--videos', type=int, default=300)
    parser.add_argument('--frames', type=int, default=30)
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--output', type=Path, default=Path('out'))
    return parser


def _run(comparison: Comparison, truth: Path, predictions: Path, repeats: int) -> dict[str, Any]:
    ours: list[Seconds] = []
    plain: list[Seconds] = []
    for _ in range(repeats):
        our_scores = _timed(ours, comparison.ours, truth, predictions)
        plain_scores = _timed(plain, comparison.plain, truth, predictions)
        if not np.allclose(our_scores, plain_scores, rtol=0, atol=TOLERANCE):
            raise SystemExit(f'{comparison.name}: {our_scores} differs from {plain_scores}')
    row: dict[str, Any] = {'name': comparison.name, 'scores': our_scores}
    for side, seconds in (('ours', ours), ('plain', plain)):
        row[f'{side}_s'] = [entry.elapsed for entry in seconds]
        row[f'{side}_cpu_s'] = [entry.cpu for entry in seconds]
        row[f'{side}_median_s'] = statistics.median(row[f'{side}_s'])
        row[f'{side}_median_cpu_s'] = statistics.median(row[f'{side}_cpu_s'])
    row['ratio'] = row['plain_median_s'] / row['ours_median_s']
    row['cpu_ratio'] = row['plain_median_cpu_s'] / row['ours_median_cpu_s']
    return row


def _add_scoring_ratios(results: list[dict[str, Any]]) -> None:
    """Take the time of the first row, reading alone, off the others."""
    reading, *others = results
    for row in others:
        row['cpu_ratio_without_reading'] = (
            (row['plain_median_cpu_s'] - reading['plain_median_cpu_s'])
            / (row['ours_median_cpu_s'] - reading['ours_median_cpu_s'])
        )


def _timed(
    seconds: list[Seconds], score: Callable[[Path, Path], Scores], truth: Path, predictions: Path
) -> Scores:
    start, cpu_start = time.perf_counter(), time.process_time()
    scores = score(truth, predictions)
    seconds.append(Seconds(time.perf_counter() - start, time.process_time() - cpu_start))
    return scores


def _our_load(truth: Path, predictions: Path) -> Scores:
    dataset = load_dataset(truth)
    return (float(len(load_predictions(predictions, dataset))),)


def _plain_load(truth: Path, predictions: Path) -> Scores:
    return (float(len(baseline.load(truth, predictions)[1])),)


def _our_precision(truth: Path, predictions: Path) -> Scores:
    dataset = load_dataset(truth)
    report = evaluate_vis(
        dataset, load_predictions(predictions, dataset), class_agnostic=False
    )
    return astuple(report.summary)


def _plain_precision(truth: Path, predictions: Path) -> Scores:
    return baseline.average_precision(*baseline.load(truth, predictions))


def _our_precisions(truth: Path, predictions: Path) -> Scores:
    dataset = load_dataset(truth)
    report = evaluate_vis(dataset, load_predictions(predictions, dataset))
    assert report.class_agnostic is not None
    return *astuple(report.summary), *astuple(report.class_agnostic)


def _plain_precisions(truth: Path, predictions: Path) -> Scores:
    loaded = baseline.load(truth, predictions)
    return (
        *baseline.average_precision(*loaded),
        *baseline.average_precision(*loaded, use_categories=False),
    )


def _our_identity(truth: Path, predictions: Path) -> Scores:
    dataset = load_dataset(truth)
    report = evaluate_identity(dataset, load_predictions(predictions, dataset))
    return tuple(
        score
        for scores in (report.class_average, report.detection_average)
        for score in (scores.hota, scores.deta, scores.assa, scores.mota, scores.idf1,
                      scores.id_switches)
    )


def _plain_identity(truth: Path, predictions: Path) -> Scores:
    return baseline.identity(*baseline.load(truth, predictions))


COMPARISONS = (
    Comparison('reading alone', _our_load, _plain_load),
    Comparison('AP by class', _our_precision, _plain_precision),
    Comparison('AP by class and class-agnostic', _our_precisions, _plain_precisions),
    Comparison('identity', _our_identity, _plain_identity),
)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == '__main__':
    main()
