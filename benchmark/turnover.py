# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Step the tracker through 100,000 frames in which objects constantly come and go.

python -m benchmark.turnover [--model FILE] [--steps 100000] [--output out]
prints how memory and time per step change over the run (the slopes of straight lines through them)
and writes turnover.json. The detections are scripted, so that only STMask's tracker is timed;
with a model, of any family, whole steps are, of pictures of which none is like another.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import torch

from stmask_ros.families.family import TrackerSettings
from stmask_ros.families.state import StreamState
from stmask_ros.families.stmask.association import associate
from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.families.stmask.detection import Detections
from stmask_ros.families.stmask.masks import assemble
from stmask_ros.families.stmask.tracks import StreamMemory, TrackerConfig, TrackTable
from stmask_ros.tracking.segmenter import load_segmenter

OBJECTS = 12
LIFETIME = 24
PICTURE = (90, 128)


class Turnover:
    """A stream of scripted objects, each seen for some frames and then never again."""

    def __init__(self, tracker: TrackerConfig) -> None:
        """Start with objects of different remaining lifetimes, on maps of 24x32 cells."""
        config = STMaskConfig(
            num_classes=1, num_prototypes=8, embedding_size=16, input_height=96, input_width=128
        )
        self.tracker = tracker
        self.state = StreamState(
            1, 0, 1, StreamMemory(TrackTable.empty(config, torch.device('cpu')), None)
        )
        self.generator = torch.Generator().manual_seed(0)
        self.prototypes = torch.rand(24, 32, 8, generator=self.generator)
        self.objects = self._new(OBJECTS)
        self.remaining = torch.arange(OBJECTS) * LIFETIME // OBJECTS + 1

    @torch.inference_mode()
    def step(self) -> None:
        """Show the objects in a new frame; replace those whose time is over."""
        detections = self._seen()
        masks = assemble(self.prototypes, detections.coefficients, detections.boxes)
        before = self.state
        current, remembered = associate(
            before.memory.tracks.aged(), detections, masks, before.next_id, before.sequence + 1,
            self.tracker,
        )
        born = len(current) - len(before.memory.tracks)
        self.state = replace(
            before, sequence=before.sequence + 1, next_id=before.next_id + born,
            memory=StreamMemory(remembered.kept(self.tracker), None),
        )
        self.remaining -= 1
        over = self.remaining == 0
        self.objects[over] = self._new(int(over.sum()))
        self.remaining[over] = LIFETIME

    def _new(self, count: int) -> torch.Tensor:
        # center and half size (4), coefficients (8), embedding (16)
        values = torch.randn(count, 28, generator=self.generator)
        values[:, :4] = torch.rand(count, 4, generator=self.generator) * 0.8 + 0.1
        return values

    def _seen(self) -> Detections:
        objects = self.objects
        center, half = objects[:, :2], 0.2 * objects[:, 2:4]
        scores = torch.rand(OBJECTS, generator=self.generator) * 0.8 + 0.15
        found = Detections(
            torch.cat((center - half, center + half), 1), scores,
            torch.ones(OBJECTS, dtype=torch.int64), scores.unsqueeze(1), objects[:, 4:12] + 1,
            torch.nn.functional.normalize(objects[:, 12:], dim=1),
        )
        return found.rows(scores.argsort(descending=True))


class Pictures:
    """A stream of a model in which whatever is found is not there in the next picture."""

    def __init__(self, model: str) -> None:
        """model: name or path."""
        settings = TrackerSettings(score_threshold=0.0, max_missed=1, capacity=OBJECTS)
        self._segmenter = load_segmenter(model, tracker=settings)
        self._random = np.random.default_rng(0)
        self.state = self._segmenter.initial_state()

    def step(self) -> None:
        """Show another picture of coarse noise."""
        height, width = PICTURE
        cells = self._random.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
        image = np.ascontiguousarray(cells.repeat(8, 0).repeat(8, 1)[:height, :width])
        _, (self.state,) = self._segmenter.step([image], [self.state])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, print the slopes and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--model', help='name or path of a model to step as a whole')
    parser.add_argument('--steps', type=int, default=100_000)
    parser.add_argument('--output', type=Path, default=Path('out'))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    turnover = Pictures(options.model) if options.model else Turnover(TrackerConfig())
    report = _measure(turnover, options.steps)
    for name, value in report.items():
        print(f'{name:32}{value:14.4g}')
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / 'turnover.json'
    path.write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')


def _measure(turnover: Turnover | Pictures, steps: int) -> dict[str, float]:
    process = psutil.Process()
    # Filled, so that noting down takes no new memory on the way.
    seconds, bytes_used, tracks = np.full((3, steps), np.nan)
    for step in range(steps):
        start = time.process_time()
        turnover.step()
        seconds[step] = time.process_time() - start
        bytes_used[step] = process.memory_info().rss
        tracks[step] = len(turnover.state.memory.tracks)
    settled = slice(steps // 10, None)
    thousands = np.arange(steps)[settled] / 1000
    return {
        'steps': steps,
        'ids given': turnover.state.next_id - 1,
        'tracks, mean': float(tracks.mean()),
        'tracks, most': float(tracks.max()),
        'step, median [us]': float(1e6 * np.median(seconds)),
        'time slope [us / 1000 steps]': float(1e6 * np.polyfit(thousands, seconds[settled], 1)[0]),
        'memory [MB]': float(bytes_used[-1] / 1e6),
        'memory slope [kB / 1000 steps]': float(
            1e-3 * np.polyfit(thousands, bytes_used[settled], 1)[0]
        ),
    }


if __name__ == '__main__':
    main()
