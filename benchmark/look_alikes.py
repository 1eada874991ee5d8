# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Two objects that look the same chase each other: how often do their identities swap?

python -m benchmark.look_alikes [--iterations 400] [--output out]
trains a tiny SG-Net with the motion head on clips of two equal discs, each of which is in the next
frame where the other one was, to the left or to the right; then follows the discs of other clips
with the motion head, and with the same weights without it, each with and without embeddings.
Prints how often an object's identity changes, and writes look_alikes.json. Boxes are those that
the network finds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from stmask_ros.families.family import Augmentation
from stmask_ros.families.frames import AnnotatedFrame
from stmask_ros.families.sgnet.config import SGNetConfig
from stmask_ros.families.sgnet.family import SGNET
from stmask_ros.families.sipmask.tracks import SipMaskTracker
from stmask_ros.models.checkpoint import Model, ModelDescription
from stmask_ros.tracking.segmenter import VideoSegmenter

HEIGHT, WIDTH = 64, 128
RADIUS, STEP = 9, 20
FRAMES = 4
OPTIONS = {
    'num_classes': 1, 'channels': 32, 'norm_groups': 8, 'long_side': WIDTH, 'short_side': HEIGHT,
    'training_long_sides': (WIDTH, WIDTH), 'training_short_sides': (HEIGHT, HEIGHT),
}


def chase(rng: np.random.Generator) -> list[AnnotatedFrame]:
    """Return a clip of two discs that go the same way, the first in front by one step."""
    direction = int(rng.choice((-1, 1)))
    start = int(rng.integers(12, 24))
    row = int(rng.integers(14, HEIGHT - 14))
    background = rng.integers(40, 90, (HEIGHT // 8, WIDTH // 8, 3)).repeat(8, 0).repeat(8, 1)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    frames = []
    for t in range(FRAMES):
        columns = [start + STEP * (t + ahead) for ahead in (0, 1)]
        if direction < 0:
            columns = [WIDTH - 1 - column for column in columns]
        masks = np.stack([(x - c)**2 + (y - row)**2 <= RADIUS**2 for c in columns])
        image = background + rng.integers(-6, 7, background.shape)
        image[masks.any(0)] = (60, 200, 230)
        frames.append(AnnotatedFrame(
            image.clip(0, 255).astype(np.uint8), masks, np.ones(2, np.int64), np.array((1, 2))
        ))
    return frames


def train(iterations: int, seed: int = 0) -> Model:
    """Return a tiny SG-Net that has learnt from chases."""
    config = SGNetConfig.named('sgnet_tiny', **OPTIONS)
    network = SGNET.build(config)
    SGNET.training.initialise(network, seed)
    torch.manual_seed(seed)
    step = SGNET.training.step(network, SGNET.training.loss_options(), 'float32').train()
    optimiser = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], 1e-3)
    rng = np.random.default_rng(seed)
    for iteration in range(iterations):
        for group in optimiser.param_groups:
            group['lr'] = 2e-3 * min(1, (iterations - iteration) / (0.4 * iterations))
        batch = []
        for _ in range(8):
            clip, first = chase(rng), int(rng.integers(FRAMES - 1))
            batch.append(SGNET.training.example(
                config, clip[first:first + 2], Augmentation(False), rng))
        losses = step(batch)
        optimiser.zero_grad()
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        if iteration % 50 == 0:
            terms = {name: round(value.item(), 3) for name, value in losses.terms().items()}
            print(iteration, terms, flush=True)
    description = ModelDescription('chase', 'sgnet_tiny', ('disc',), family='sgnet')
    return Model(description, network.eval().requires_grad_(False), 'fresh')


def swaps(model: Model, tracker: SipMaskTracker, clips: int) -> dict[str, int]:
    """Return how many discs were found twice in a row, and how many changed identity."""
    segmenter = VideoSegmenter(model, torch.device('cpu'), tracker)
    rng = np.random.default_rng(1000)
    counts = {'discs': 0, 'found': 0, 'swapped': 0}
    for _ in range(clips):
        state, before = segmenter.initial_state(), {}
        for frame in chase(rng):
            (result,), (state,) = segmenter.step([frame.image], [state])
            now = {}
            for object_id, mask in zip(frame.ids, frame.masks, strict=True):
                center = np.argwhere(mask).mean(0)[::-1]
                boxes = result.boxes.reshape(-1, 2, 2).mean(1)
                near = np.abs(boxes - center).max(1, initial=0) < RADIUS if len(boxes) else []
                if np.any(near):
                    best = max(np.flatnonzero(near), key=lambda row: result.scores[row])
                    now[object_id] = result.track_ids[best]
            if before:
                counts['discs'] += 2
                both = set(before) & set(now)
                counts['found'] += len(both)
                counts['swapped'] += sum(int(before[i] != now[i]) for i in both)
            before = now
    return counts


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--iterations', type=int, default=400)
    parser.add_argument('--clips', type=int, default=50)
    parser.add_argument('--output', type=Path, default=Path('out'))
    options = parser.parse_args(arguments)
    start = time.monotonic()
    model = train(options.iterations)
    report: dict[str, object] = {
        'iterations': options.iterations, 'training_s': round(time.monotonic() - start)
    }
    for appearance in (True, False):
        for weight in (0.0, 3.0):
            name = f'{"with" if appearance else "no"} embeddings, motion_weight {weight}'
            report[name] = swaps(model, SipMaskTracker(
                score_threshold=0.3, appearance=appearance, motion_weight=weight
            ), options.clips)
            print(name, report[name], flush=True)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / 'look_alikes.json').write_text(json.dumps(report, indent=2) + '\n')


if __name__ == '__main__':
    main()
