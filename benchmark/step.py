# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Time one step of the segmenter, and compare it with the plain eager network in the same run.

python -m benchmark.step [--model stmask_lite | --family NAME [--configuration NAME]]
    [--device cpu] [--precision float32] [--threads 2] [--repeats 5]
    [--tables plain parts tracks cameras resolution] [--output out]
prints a table each and writes step.json. A step is from uint8 images on the host to results on
the host. Times are medians, on a CPU of processor time, which other work on the machine does not
stretch; the two sides of a comparison take turns. The weights are fresh ones:
they change the results, and not the work, since the number of tracks is set; of a family they are
those of its first configuration, or of the one that is named, for 40 classes. The plain network is
float32, eager, a frame at a time; `gflop` are its multiplications and additions as PyTorch counts
them (2 each, without deformable convolutions), `gflop_per_s` those over the time of our step.
`parts` is the time within each part of the network, and the rest. For a released configuration on
CUDA, `of_limit` is the share of the time that its arithmetic alone would take an H200, LIMIT_MS a
frame.
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
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.hooks import RemovableHandle

from benchmark.step_baseline import plain_segmenter
from stmask_ros.families.all import family_named
from stmask_ros.families.family import TrackerSettings
from stmask_ros.families.frames import Image
from stmask_ros.families.state import StreamState
from stmask_ros.memory import keep_freed_memory
from stmask_ros.models.checkpoint import Model, ModelDescription, load_model
from stmask_ros.tracking.segmenter import Precision, VideoSegmenter

CPU = torch.device('cpu')
Row = dict[str, float]
TRACKS = (0, 1, 4, 16, 20, 64)
CAMERAS = (1, 2, 4, 8, 16)
RESOLUTIONS = ((640, 360), (1280, 720), (1920, 1080))
COMPARED_TRACKS = 20
CLASSES = 40
# Nothing is detected, and nothing is forgotten.
KEEPS_TRACKS = TrackerSettings(score_threshold=1.0, max_missed=10**6)
# 182 GFLOP a frame of STMask_plus_resnet50_ada, as fast as an H200 multiplies half precision.
LIMIT_MS = 0.5
LIMIT_MODEL = 'stmask_plus_resnet50_ada'


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill the tables that were asked for, print and write them."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    model = _model(options)
    bench = StepBenchmark(
        model, torch.device(options.device), options.repeats, options.precision,
        LIMIT_MS if (options.model, options.device) == (LIMIT_MODEL, 'cuda') else None,
    )
    chosen = {name: TABLES[name](bench) for name in options.tables}
    report = {
        'model': model.description.name, 'family': model.family.name,
        'precision': options.precision, 'host': _host(options),
        'versions': _versions(),
        'input_sha256': hashlib.sha256(picture(640, 360).tobytes()).hexdigest(), 'tables': chosen,
    }
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / f'step_{model.description.name}_{options.device}.json'
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
        self.segmenter = self._segmenter(KEEPS_TRACKS)

    def plain(self) -> list[Row]:
        """Compare with the plain network: detections at the usual threshold, 20 tracks."""
        settings = TrackerSettings(capacity=COMPARED_TRACKS)
        ours = self._segmenter(settings)
        plain = plain_segmenter(self.model, self.device, self.model.tracker(settings))
        image = picture(640, 360)
        _, (state,) = ours.step([image], [ours.initial_state()])
        with FlopCounterMode(display=False) as counter:
            plain.step([image], [state])
        gflop = counter.get_total_flops() / 1e9
        times = self._alternate(
            lambda: ours.step([image], [state]), lambda: plain.step([image], [state])
        )
        fast, slow = (statistics.median(side) for side in times)
        return [{'tracks': state.next_id - 1, 'step_ms': fast, 'plain_ms': slow,
                 'gflop': gflop, 'gflop_per_s': 1e3 * gflop / fast, 'ratio': slow / fast,
                 'best_ratio': min(times[1]) / min(times[0]),
                 **self._speed(fast)}]

    def parts(self) -> list[Row]:
        """Time the parts of the network within a step, 16 tracks; on a GPU it waits for each."""
        image, state = picture(640, 360), self._state(16)
        with PartTimes(self.segmenter.network, self.device) as times:
            step = self._median([image], [state])
        spent = {name: 1e3 * value / (self.repeats + 1) for name, value in times.seconds.items()}
        rest = {'rest': max(step - sum(spent.values()), 0)}
        return [{'step_ms': step, **spent, **rest}]

    def tracks(self) -> list[Row]:
        """Time a step with so many tracks carried, or as many as the family finds."""
        rows = []
        for count in TRACKS:
            state = self._state(count)
            step = self._median([picture(640, 360)], [state])
            rows.append({'tracks': state.next_id - 1, 'step_ms': step, **self._speed(step)})
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

    def _segmenter(self, settings: TrackerSettings) -> VideoSegmenter:
        return VideoSegmenter(
            self.model, self.device, self.model.tracker(settings), precision=self.precision
        )

    def _state(self, count: int) -> StreamState:
        """Return a state with as many tracks as are found in a picture, so many at most."""
        if count == 0:
            return self.segmenter.initial_state()
        finder = self._segmenter(TrackerSettings(
            score_threshold=0.0, birth_threshold=0.0, capacity=count, nms_threshold=1.0
        ))
        _, (state,) = finder.step([picture(640, 360)], [finder.initial_state()])
        return state

    def _median(self, images: list[Image], states: list[StreamState]) -> float:
        (times,) = self._alternate(lambda: self.segmenter.step(images, states))
        return statistics.median(times)

    def _alternate(self, *functions: Callable[[], object]) -> list[list[float]]:
        """Return the times [ms] of each function, called in turn after a warm-up."""
        times: list[list[float]] = [[] for _ in functions]
        for repeat in range(self.repeats + 1):
            for function, mine in zip(functions, times, strict=True):
                start = now(self.device)
                function()
                if repeat > 0:
                    mine.append(1e3 * (now(self.device) - start))
        return times


def now(device: torch.device) -> float:
    """Return the processor time [s] of this process; on a GPU the clock's, once it has no work."""
    if device.type == 'cpu':
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


class PartTimes:
    """Sums the time within each part of a network while it is entered; forward calls alone."""

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        """Find the parts: the children, of a wrapper those of what it wraps."""
        self.seconds: dict[str, float] = {}
        self._parts = _parts(network)
        self._device = device
        self._hooks: list[RemovableHandle] = []
        self._starts: list[float] = []

    def __enter__(self) -> PartTimes:
        """Listen to the parts."""
        for name, part in self._parts.items():
            self._hooks.append(part.register_forward_pre_hook(lambda *_: self._begin()))
            self._hooks.append(part.register_forward_hook(lambda *_, name=name: self._end(name)))
        return self

    def __exit__(self, *_: object) -> None:
        """Leave them alone."""
        for hook in self._hooks:
            hook.remove()

    def _begin(self) -> None:
        self._starts.append(now(self._device))

    def _end(self, name: str) -> None:
        spent = now(self._device) - self._starts.pop()
        self.seconds[name] = self.seconds.get(name, 0.0) + spent


def _parts(network: nn.Module) -> dict[str, nn.Module]:
    children = dict(network.named_children())
    while len(children) == 1:
        network = next(iter(children.values()))
        children = dict(network.named_children())
    flat: dict[str, nn.Module] = {}
    for name, child in children.items():
        if isinstance(child, nn.ModuleList):
            flat |= {f'{name}.{number}': part for number, part in enumerate(child)}
        else:
            flat[name] = child
    return flat


TABLES: dict[str, Callable[[StepBenchmark], list[Row]]] = {
    'plain': StepBenchmark.plain, 'parts': StepBenchmark.parts, 'tracks': StepBenchmark.tracks,
    'cameras': StepBenchmark.cameras, 'resolution': StepBenchmark.resolution,
}


def _model(options: argparse.Namespace) -> Model:
    if options.family is None:
        return load_model(options.model)
    return fresh_model(options.family, options.configuration)


def fresh_model(family_name: str, configuration: str | None = None) -> Model:
    """Return a model of a family with fresh weights, of its first configuration without a name."""
    family = family_named(family_name)
    name = configuration or family.configuration_names()[0]
    network = family.build(family.configuration(name, CLASSES, {}))
    family.initialise(network, 0)
    classes = tuple(f'class {number + 1}' for number in range(CLASSES))
    description = ModelDescription(name, name, classes, family=family_name)
    return Model(description, network.eval().requires_grad_(False), 'fresh')


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
    print(f'\n{name}\n' + ''.join(f'{key:>20}' for key in rows[0]))
    for row in rows:
        print(''.join(f'{value:20.2f}' for value in row.values()))


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
    parser.add_argument('--family', help='a fresh network of it instead of a model')
    parser.add_argument('--configuration', help='of the family (default: its first)')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--precision', choices=get_args(Precision), default='float32')
    parser.add_argument('--threads', type=int, default=os.cpu_count())
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--tables', nargs='+', choices=tuple(TABLES), default=tuple(TABLES))
    parser.add_argument('--output', type=Path, default=Path('out'))
    return parser


if __name__ == '__main__':
    main()
