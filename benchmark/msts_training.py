# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Let a small MS-STS learn from drawn clips on a CPU: what a few minutes are worth.

python -m benchmark.msts_training [--minutes 8] [--modules off on] [--backbone FILE] [--threads 1]
    [--output out]
trains the same start with and without the paper's modules, each for so many minutes of processor
time, which other work on the machine does not stretch, and measures the mask AP on held-out clips
before and after, window by window as a camera has it, and of whole videos.
python -m benchmark.msts_training --overfit lets it learn eight frames by heart instead.
The clips show discs, squares and triangles of random colours that move over a random background.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from pycocotools import mask as coco_mask
from torch import Tensor

from stmask_ros.evaluation.dataset import Dataset, PredictedTrack, Video, parse_dataset
from stmask_ros.evaluation.track_collection import (
    TrackCollector,
    observations_of_result,
    predictions_of,
    tracks_of_instances,
)
from stmask_ros.evaluation.vis_metric import evaluate_vis
from stmask_ros.families.family import Augmentation
from stmask_ros.families.frames import AnnotatedFrame
from stmask_ros.families.msts.config import MSTSConfig
from stmask_ros.families.msts.initialisation import initialise
from stmask_ros.families.msts.masks import aligned_bilinear
from stmask_ros.families.msts.network import MSTS
from stmask_ros.families.msts.training.examples import Batch, example
from stmask_ros.families.msts.training.losses import ClipPass, LossConfig
from stmask_ros.families.msts.training.optimiser import parameter_groups
from stmask_ros.families.msts.training.step import TrainingStep
from stmask_ros.models.checkpoint import Model, ModelDescription, read_weights
from stmask_ros.tracking.segmenter import VideoSegmenter

CLASSES = ('disc', 'square', 'triangle')
SIZE = (64, 96)
FRAMES = 2
BATCH = 4
HELD_OUT, HELD_OUT_FRAMES = 20, 6
LEARNING_RATE = 5e-4
# Of the run, after which the rate falls to a tenth.
STEP = 0.8
# Of the eight frames: at the clips' own 64 pixels an object covers five cells of its map of stride
# 4, which logits of stride 8, enlarged to it, meet with a mean IoU of 0.947 at most.
OVERFIT_SIDE = 128
CPU = torch.device('cpu')


@dataclass(frozen=True)
class Shape:
    """A drawn object: label from 1, centers (x, y) of its frames, radius [pixel], BGR."""

    label: int
    path: np.ndarray
    radius: float
    color: tuple[int, ...]

    def mask(self, frame: int) -> np.ndarray:
        """Return where it is, uint8 [H, W]."""
        canvas = np.zeros(SIZE, np.uint8)
        x, y = self.path[frame]
        if self.label == 1:
            cv2.circle(canvas, (round(x), round(y)), round(self.radius), 1, -1)
            return canvas
        corners = 4 if self.label == 2 else 3
        angles = 2 * np.pi * (np.arange(corners) / corners) + np.pi / 4 * (corners == 4)
        angles = angles - np.pi / 2 * (corners == 3)
        points = np.stack((x + self.radius * np.cos(angles), y + self.radius * np.sin(angles)), 1)
        cv2.fillPoly(canvas, [points.round().astype(np.int32)], (1,))
        return canvas


def drawn_clip(seed: int, count: int) -> list[AnnotatedFrame]:
    """Return a clip of one to three shapes, of which later ones hide earlier ones."""
    rng = np.random.default_rng(seed)
    height, width = SIZE
    background = cv2.resize(rng.integers(40, 216, (4, 5, 3), np.uint8), (width, height),
                            interpolation=cv2.INTER_CUBIC)
    shapes = []
    for _ in range(rng.integers(1, 3, endpoint=True)):
        start, speed = rng.uniform((16, 16), (width - 16, height - 16)), rng.uniform(-4, 4, 2)
        path = start + np.arange(count)[:, None] * speed
        color = tuple(int(c) for c in rng.integers(0, 256, 3))
        shapes.append(Shape(int(rng.integers(1, 4)), path, rng.uniform(8, 17), color))
    return [_drawn_frame(background, shapes, frame, rng) for frame in range(count)]


def _drawn_frame(
    background: np.ndarray, shapes: Sequence[Shape], frame: int, rng: np.random.Generator
) -> AnnotatedFrame:
    image = background.astype(np.float32)
    masks = np.zeros((len(shapes), *SIZE), np.bool_)
    for i, shape in enumerate(shapes):
        inside = shape.mask(frame) > 0
        image[inside] = shape.color
        masks[:i, inside] = False
        masks[i] = inside
    image += rng.normal(0, 4, image.shape)
    shown = masks.sum((1, 2)) >= 20
    labels = np.array([shape.label for shape in shapes], np.int64)
    return AnnotatedFrame(
        image.clip(0, 255).astype(np.uint8), masks[shown], labels[shown],
        np.flatnonzero(shown).astype(np.int64) + 1,
    )


def small_config(modules: bool, short_side: int = min(SIZE)) -> MSTSConfig:
    """Return the small configuration, by default at the size of the clips."""
    return MSTSConfig.named(
        'msts_lite', num_classes=len(CLASSES), short_side=short_side, window=FRAMES, dropout=0.0,
        encoder='msts' if modules else 'per_frame', box_attention=modules,
    )


def fresh_network(config: MSTSConfig, backbone: Path | None) -> MSTS:
    """Return a network with the backbone of a file, which keeps its weights, or a fresh one."""
    network = MSTS(config)
    initialise(network, 0)
    if backbone is not None:
        network.backbone.load_state_dict({
            key.removeprefix('backbone.'): value.float()
            for key, value in read_weights(backbone).items() if key.startswith('backbone.')
        })
        network.backbone.requires_grad_(False)
    return network


class Lesson:
    """A network that learns."""

    def __init__(self, network: MSTS, learning_rate: float = LEARNING_RATE) -> None:
        """Prepare its losses and AdamW."""
        self.step = TrainingStep(network, LossConfig(frames=FRAMES), 'float32')
        self.step.train()
        network.backbone.eval()
        self._rates = [learning_rate * group.rate for group in parameter_groups(network)]
        backbone = [p for p in network.backbone.parameters() if p.requires_grad]
        self._rates += [0.1 * learning_rate] if backbone else []
        groups = [list(group.parameters) for group in parameter_groups(network)]
        self._optimiser = torch.optim.AdamW(
            [{'params': group} for group in [*groups, backbone] if group],
            learning_rate, weight_decay=1e-4,
        )

    def learn(self, clips: Sequence[Any], factor: float = 1.0) -> float:
        """Learn from a batch; factor: on the learning rate. Return the loss."""
        for rate, group in zip(self._rates, self._optimiser.param_groups, strict=True):
            group['lr'] = rate * factor
        losses = self.step(clips)
        self._optimiser.zero_grad(set_to_none=True)
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(self.step.parameters(), 1.0)
        self._optimiser.step()
        return float(losses.total.detach())


def train(network: MSTS, minutes: float) -> dict[str, float]:
    """Learn from clips that are never seen twice."""
    lesson, rng = Lesson(network), np.random.default_rng(0)
    start, iteration, loss, weight = time.process_time(), 0, 0.0, 1.0
    while (share := (time.process_time() - start) / (60 * minutes)) < 1:
        seeds = range(BATCH * iteration, BATCH * (iteration + 1))
        clips = [
            example(drawn_clip(seed, FRAMES), network.config, Augmentation(), rng)
            for seed in seeds
        ]
        warm = min(1.0, (iteration + 1) / 50)
        loss = 0.98 * loss + 0.02 * lesson.learn(clips, warm * (1.0 if share < STEP else 0.1))
        iteration += 1
        weight = 1 - 0.98**iteration  # of all losses in the running mean
        if iteration % 25 == 0:
            print(f'{iteration:6d} iterations, loss {loss / weight:.2f}', flush=True)
    return {'iterations': iteration, 'loss': loss / weight}


def held_out() -> tuple[Dataset, list[list[AnnotatedFrame]]]:
    """Return clips that no training sees, and their annotations."""
    clips = [drawn_clip(10**9 + i, HELD_OUT_FRAMES) for i in range(HELD_OUT)]
    videos, annotations = [], []
    for number, clip in enumerate(clips, 1):
        names = [f'{number}/{i}.png' for i in range(len(clip))]
        videos.append({'id': number, 'height': SIZE[0], 'width': SIZE[1], 'length': len(clip),
                       'file_names': names})
        for identity in sorted({int(i) for frame in clip for i in frame.ids}):
            label, masks = _track(clip, identity)
            annotations.append({'id': len(annotations) + 1, 'video_id': number, 'iscrowd': 0,
                                'category_id': label, 'segmentations': masks})
    categories = [{'id': i, 'name': name} for i, name in enumerate(CLASSES, 1)]
    document = {'videos': videos, 'annotations': annotations, 'categories': categories}
    return parse_dataset(document), clips


def _track(clip: Sequence[AnnotatedFrame], identity: int) -> tuple[int, list[Any]]:
    label, masks = 0, []
    for frame in clip:
        rows = np.flatnonzero(frame.ids == identity)
        if len(rows):
            label = int(frame.labels[rows[0]])
        masks.append(_rle(frame.masks[rows[0]]) if len(rows) else None)
    return label, masks


def _rle(mask: np.ndarray) -> dict[str, Any]:
    encoded = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {'size': list(SIZE), 'counts': encoded['counts'].decode()}


def measure(network: MSTS) -> dict[str, float]:
    """Return AP and AP50 [%] on the held-out clips, of the stream and of whole videos."""
    dataset, clips = held_out()
    description = ModelDescription(
        'small', 'msts_lite', CLASSES, Path('trained'), family='msts')
    model = Model(description, network, 'trained')
    segmenter = VideoSegmenter(model, CPU, model.tracker())
    same = {i: i for i in range(1, len(CLASSES) + 1)}
    live: list[PredictedTrack] = []
    whole: list[PredictedTrack] = []
    for video, clip in zip(dataset.videos, clips, strict=True):
        live += predictions_of(_stream(segmenter, video, clip).tracks(same))
        instances = segmenter.whole_video([frame.image for frame in clip])
        whole += predictions_of(tracks_of_instances(video, instances, same))
    scores = {}
    for name, tracks in (('stream', live), ('whole', whole)):
        summary = evaluate_vis(dataset, tracks).summary
        scores |= {f'{name}_AP': 100 * summary.ap, f'{name}_AP50': 100 * summary.ap50}
    return scores


def _stream(
    segmenter: VideoSegmenter, video: Video, clip: Sequence[AnnotatedFrame]
) -> TrackCollector:
    collector, state = TrackCollector(video), segmenter.initial_state()
    for number, frame in enumerate(clip):
        (result,), (state,) = segmenter.step([frame.image], [state])
        collector.add(number, observations_of_result(result))
    return collector


def compare(
    minutes: float, kinds: Sequence[str], backbone: Path | None
) -> list[dict[str, Any]]:
    """Train with and without the paper's modules; return a row each."""
    rows = []
    for kind in kinds:
        network = fresh_network(small_config(kind == 'on'), backbone)
        before = measure(network)
        facts = train(network, minutes)
        after = measure(network)
        row = {'modules': kind, **facts} | {f'start_{k}': v for k, v in before.items()} | after
        print('  '.join(f'{k} {v:.1f}' if isinstance(v, float) else f'{k} {v}'
                        for k, v in row.items()), flush=True)
        rows.append(row)
    return rows


def overfit(minutes: float, backbone: Path | None, goal: float = 0.95) -> dict[str, float]:
    """Learn eight frames, two clips, by heart; return the mean mask IoU and the time."""
    network = fresh_network(small_config(False, OVERFIT_SIDE), backbone)
    lesson, rng = Lesson(network), np.random.default_rng(0)
    clips = [drawn_clip(seed, 4) for seed in (4, 11)]
    examples = [example(clip, network.config, Augmentation(flip=False), rng) for clip in clips]
    most = showable_iou(examples)
    print(f'mask IoU {most:.3f} is the most that the map can show', flush=True)
    start, iteration, reached = time.process_time(), 0, 0.0
    while reached < goal and time.process_time() - start < 60 * minutes:
        lesson.learn(examples, min(1.0, (iteration + 1) / 20))
        iteration += 1
        if iteration % 20 == 0:
            reached = matched_iou(network, examples)
            print(f'{iteration:6d} iterations, mask IoU {reached:.3f}', flush=True)
    return {'iterations': iteration, 'mask_iou': reached, 'showable_iou': most,
            'seconds': time.process_time() - start}


@torch.no_grad()
def matched_iou(network: MSTS, examples: Sequence[Any]) -> float:
    """Return the mean IoU of the objects' masks with those of their queries, at stride 4."""
    batch = Batch.of(examples, CPU)
    clips = ClipPass.of(network, batch.images, batch.valid, batch.targets)
    ious = [
        mask_ious(clips.predictions[-1].masks[clip], batch.targets[clip].masks[pairs.objects])
        for clip, pairs in enumerate(clips.matches[-1])
    ]
    return float(torch.cat(ious).mean())


def showable_iou(examples: Sequence[Any]) -> float:
    """Return the IoU that logits of stride 8 reach which are fitted to the masks alone."""
    ious = []
    for its in examples:
        wanted = its.targets.masks[..., 2::4, 2::4].float()
        coarse = torch.zeros_like(wanted[..., ::2, ::2]).requires_grad_()
        optimiser = torch.optim.Adam([coarse], 0.3)
        for _ in range(300):
            loss = F.binary_cross_entropy_with_logits(aligned_bilinear(coarse, 2), wanted)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        ious.append(mask_ious(aligned_bilinear(coarse.detach(), 2), its.targets.masks))
    return float(torch.cat(ious).mean())


def mask_ious(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the IoU [n] of logits [n, T, h, w] of stride 4 with masks bool [n, T, H, W]."""
    said, true = (logits > 0).flatten(1), masks[..., 2::4, 2::4].flatten(1)
    return (said & true).sum(1) / (said | true).sum(1).clamp(min=1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, print and write a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--minutes', type=float, default=8)
    parser.add_argument('--modules', nargs='+', default=['off', 'on'], choices=['off', 'on'])
    parser.add_argument('--overfit', action='store_true')
    parser.add_argument(
        '--backbone', type=Path, metavar='FILE',
        help='a model with EfficientNet-Lite0; without one, the backbone starts fresh and learns',
    )
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--output', type=Path, default=Path('out'))
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    report: Any = (
        overfit(options.minutes, options.backbone) if options.overfit
        else compare(options.minutes, options.modules, options.backbone)
    )
    options.output.mkdir(parents=True, exist_ok=True)
    name = 'msts_overfit.json' if options.overfit else 'msts_training.json'
    (options.output / name).write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')
    print(report)


if __name__ == '__main__':
    main()
