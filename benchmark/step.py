"""
Time one step of the segmenter, and compare it with the plain eager network in the same run.

python -m benchmark.step [--model stmask_lite] [--device cpu] [--precision float32] [--threads 2]
    [--repeats 5] [--tables plain tracks cameras resolution] [--output out]
prints a table each and writes step.json. A step is from uint8 images on the host to results on
the host. Times are medians; the two sides of a comparison take turns. The weights are fresh ones:
they change the results, and not the work, since the number of tracks is set. The plain network is
float32, eager, a frame at a time. For a released configuration on CUDA, `of_limit` is the share of
the time that its arithmetic alone would take an H200, LIMIT_MS a frame.
On a GPU (--device cuda) this has not been run yet.
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
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
import torchvision

from benchmark.step_baseline import plain_segmenter
from stmask_ros.families.state import StreamState
from stmask_ros.families.stmask.preprocess import Image
from stmask_ros.families.stmask.tracks import TrackerConfig
from stmask_ros.memory import keep_freed_memory
from stmask_ros.models.checkpoint import Model, load_model
from stmask_ros.tracking.segmenter import Precision, VideoSegmenter

Row = dict[str, float]
TRACKS = (0, 1, 4, 16, 20, 64)
CAMERAS = (1, 2, 4, 8, 16)
RESOLUTIONS = ((640, 360), (1280, 720), (1920, 1080))
COMPARED_TRACKS = 20
# 182 GFLOP a frame of STMask_plus_resnet50_ada, as fast as an H200 multiplies half precision.
LIMIT_MS = 0.5
LIMIT_MODEL = 'stmask_plus_resnet50_ada'


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill the tables that were asked for, print and write them."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    model = load_model(options.model)
    bench = StepBenchmark(
        model, torch.device(options.device), options.repeats, options.precision,
        LIMIT_MS if (options.model, options.device) == (LIMIT_MODEL, 'cuda') else None,
    )
    chosen = {name: TABLES[name](bench) for name in options.tables}
    report = {
        'model': options.model, 'precision': options.precision, 'host': _host(options),
        'versions': _versions(),
        'input_sha256': hashlib.sha256(picture(640, 360).tobytes()).hexdigest(), 'tables': chosen,
    }
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / f'step_{options.model}_{options.device}.json'
    path.write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')
    for name, rows in chosen.items():
        _print_table(name, rows)


class StepBenchmark:
    """A segmenter, its plain counterpart, and a clock that waits for the device."""

    def __init__(
        self, model: Model, device: torch.device, repeats: int, precision: Precision = 'float32',
        limit_ms: float | None = None,
    ) -> None:
        """
        Nothing is detected at a threshold of one, so a state keeps its number of tracks.

        limit_ms: what a frame's arithmetic alone takes the device, where that is known.
        """
        self.precision = precision
        self.limit_ms = limit_ms
        self.model = model
        self.device = device
        self.repeats = repeats
        self.tracker = TrackerConfig(score_threshold=1.0, retirement='never')
        self.segmenter = self._segmenter(self.tracker)

    def plain(self) -> list[Row]:
        """Compare with the plain network: detections at the usual threshold, 20 tracks."""
        tracker = TrackerConfig(capacity=COMPARED_TRACKS)
        ours = self._segmenter(tracker)
        plain = plain_segmenter(self.model, self.device, tracker)
        image = picture(640, 360)
        _, (state,) = ours.step([image], [ours.initial_state()])
        times = self._alternate(
            lambda: ours.step([image], [state]), lambda: plain.step([image], [state])
        )
        fast, slow = (statistics.median(side) for side in times)
        return [{'tracks': len(state.memory.tracks), 'step_ms': fast, 'plain_ms': slow,
                 'ratio': slow / fast, 'best_ratio': min(times[1]) / min(times[0]),
                 **self._speed(fast)}]

    def tracks(self) -> list[Row]:
        """Time a step with so many tracks carried."""
        rows = []
        for count in TRACKS:
            step = self._median([picture(640, 360)], [self._state(count)])
            rows.append({'tracks': count, 'step_ms': step, **self._speed(step)})
        return rows

    def cameras(self) -> list[Row]:
        """Time a batch of so many cameras, four tracks each."""
        rows = []
        for count in CAMERAS:
            images, states = [picture(640, 360)] * count, [self._state(4)] * count
            step = self._median(images, states)
            rows.append({'cameras': count, 'step_ms': step, **self._speed(step / count)})
        return rows

    def resolution(self) -> list[Row]:
        """Time a step of an image of so many pixels, 16 tracks."""
        return [
            {'width': width, 'height': height,
             'step_ms': self._median([picture(width, height)], [self._state(16)])}
            for width, height in RESOLUTIONS
        ]

    def _speed(self, frame_ms: float) -> Row:
        speed = {'frames_per_s': 1e3 / frame_ms}
        if self.limit_ms is not None:
            speed['of_limit'] = self.limit_ms / frame_ms
        return speed

    def _segmenter(self, tracker: TrackerConfig) -> VideoSegmenter:
        return VideoSegmenter(self.model, self.device, tracker, precision=self.precision)

    def _state(self, count: int) -> StreamState:
        """Return a state with so many tracks, boxes spread over the image."""
        finder = self._segmenter(TrackerConfig(score_threshold=0.0))
        _, (state,) = finder.step([picture(640, 360)], [finder.initial_state()])
        rows = torch.arange(count, device=self.device) % len(state.memory.tracks)
        tracks = replace(
            state.memory.tracks.rows(rows), ids=torch.arange(count, device=self.device) + 1
        )
        return replace(
            state, memory=replace(state.memory, tracks=tracks), next_id=count + 1
        )

    def _median(self, images: list[Image], states: list[StreamState]) -> float:
        (times,) = self._alternate(lambda: self.segmenter.step(images, states))
        return statistics.median(times)

    def _alternate(self, *functions: Callable[[], object]) -> list[list[float]]:
        """Return the times [ms] of each function, called in turn after a warm-up."""
        times: list[list[float]] = [[] for _ in functions]
        for repeat in range(self.repeats + 1):
            for function, mine in zip(functions, times, strict=True):
                start = time.perf_counter()
                function()
                if self.device.type == 'cuda':
                    torch.cuda.synchronize(self.device)
                if repeat > 0:
                    mine.append(1e3 * (time.perf_counter() - start))
        return times


TABLES: dict[str, Callable[[StepBenchmark], list[Row]]] = {
    'plain': StepBenchmark.plain, 'tracks': StepBenchmark.tracks,
    'cameras': StepBenchmark.cameras, 'resolution': StepBenchmark.resolution,
}


def picture(width: int, height: int) -> Image:
    """Return a deterministic BGR image of soft blobs."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width] / height
    image = np.full((height, width, 3), 90.0)
    for center_x, center_y, radius, *color in generator.random((12, 6)):
        distance = ((x - center_x * width / height) ** 2 + (y - center_y) ** 2) ** 0.5
        inside = np.clip((0.05 + 0.2 * radius - distance) * 40, 0, 1)[..., None]
        image = image * (1 - inside) + 255 * np.array(color) * inside
    return np.asarray(image, np.uint8)


def _print_table(name: str, rows: Sequence[Row]) -> None:
    print(f'\n{name}\n' + ''.join(f'{key:>15}' for key in rows[0]))
    for row in rows:
        print(''.join(f'{value:15.2f}' for value in row.values()))


def _host(options: argparse.Namespace) -> dict[str, Any]:
    return {
        'machine': platform.machine(), 'system': platform.platform(), 'cores': os.cpu_count(),
        'threads': options.threads, 'load_average': os.getloadavg()[0],
        'device': torch.cuda.get_device_name() if options.device != 'cpu' else 'cpu',
    }


def _versions() -> dict[str, str]:
    return {
        'python': platform.python_version(), 'numpy': np.__version__,
        'torch': torch.__version__, 'torchvision': torchvision.__version__,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--model', default='stmask_lite')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--precision', choices=get_args(Precision), default='float32')
    parser.add_argument('--threads', type=int, default=os.cpu_count())
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--tables', nargs='+', choices=tuple(TABLES), default=tuple(TABLES))
    parser.add_argument('--output', type=Path, default=Path('out'))
    return parser


if __name__ == '__main__':
    main()
