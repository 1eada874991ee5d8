# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The whole network of MS-STS against the reference's clips, with and without its modules."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pytest
import torch
from msts_reference import CLIP, Arrays, arrays, close, network
from torch import Tensor

from stmask_ros.families.frames import Geometry, ScaledImage
from stmask_ros.families.msts.decoder import LayerOutput
from stmask_ros.families.msts.grid import Grid
from stmask_ros.families.msts.inference import prepared_for_inference
from stmask_ros.families.msts.masks import mask_logits
from stmask_ros.families.msts.network import MSTS
from stmask_ros.families.msts.preprocess import normalised
from stmask_ros.families.msts.selection import Selection, image_logits
from stmask_ros.families.msts.whole_video import segment_video

FILES = ('golden_resnet50', 'golden_resnet50_odd')
CLIPS = (('golden_resnet50', 'clip'), ('golden_resnet50', 'single'),
         ('golden_resnet50', 'window'), ('golden_resnet50_odd', 'pair'))
DETAILED = (('golden_resnet50', 'clip'), ('golden_resnet50_odd', 'pair'))


@dataclass(frozen=True)
class Run:
    """What a network computes of a clip, and what the reference did."""

    golden: Arrays
    spec: dict
    images: Tensor
    grid: Grid
    tokens: Tensor
    encoded: list[Tensor]
    memory: Tensor
    features: Tensor
    outputs: list[LayerOutput]


@lru_cache(maxsize=4)
@torch.inference_mode()
def run(file: str, clip: str, modules: bool = False) -> Run:
    golden = arrays(file)
    spec = json.loads(str(golden['spec']))
    size = tuple(spec['size'])
    chosen = [spec['frames'][i] for i in spec['clips'][clip]]
    images = normalised([CLIP.frame(t, *size, seed) for seed, t in chosen])
    own = {k.removeprefix(f'{clip}/'): v for k, v in golden.items() if k.startswith(f'{clip}/')}
    net = network(modules)
    grid = Grid.unpadded(size, net.config.channels, images.device)
    tokens = net.tokens(images)
    encoded = list(encoder_layers(net, tokens[None], grid))
    memory = encoded[-1]
    return Run(own, spec, images, grid, tokens, encoded, memory,
               net.mask_features(memory[0], grid), net.decoder(memory, grid))


def encoder_layers(net: MSTS, tokens: Tensor, grid: Grid) -> Iterator[Tensor]:
    grid = net.with_levels(grid)
    for layer in net.encoder.layers:
        tokens = layer(tokens, grid)
        yield tokens


@pytest.mark.parametrize(('file', 'clip'), DETAILED)
def test_frames(file: str, clip: str) -> None:
    """From the image to the encoder."""
    here = run(file, clip)
    height = here.spec['size'][0]
    close(here.images[:, :, ::16, ::16], here.golden['pre.slice'], 1e-5)
    maps = network().backbone(here.images)
    for name, level in zip(('C2', 'C3', 'C4', 'C5'), maps, strict=True):
        step = max(1, level.shape[2] // 8)
        close(level[:, ::level.shape[1] // 16, ::step, ::step], here.golden[f'{name}.slice'], 2e-4)
    levels = here.grid.levels(here.tokens)
    positions = here.grid.levels(here.grid.position)
    assert height > 0
    for i, (level, position) in enumerate(zip(levels, positions, strict=True)):
        rows, columns = level.shape[1:3]
        step = max(1, rows // 8)
        picked = level.permute(0, 3, 1, 2)[:, ::16, ::step, ::step]
        close(picked, here.golden[f'proj{i}.slice'], 2e-4)
        code = position[0].permute(2, 0, 1)[::8, ::max(1, rows // 6), ::max(1, columns // 6)]
        close(code, here.golden[f'pos{i}.slice'], 1e-5)


@pytest.mark.parametrize('modules', [False, True])
@pytest.mark.parametrize(('file', 'clip'), DETAILED)
def test_layers(file: str, clip: str, modules: bool) -> None:
    """Every layer of the transformer; the paper's modules, fresh, change nothing."""
    here = run(file, clip, modules)
    for i, tokens in enumerate(here.encoded):
        close(tokens[0, :, ::37, ::8], here.golden[f'enc{i}.slice'], 2e-4)
    for i, output in enumerate(here.outputs):
        golden = {k.removeprefix(f'dec{i}.'): v for k, v in here.golden.items()
                  if k.startswith(f'dec{i}.')}
        close(output.instances[0, ::5, ::4], golden['instance'], 2e-4)
        close(output.time_weights[0], golden['time_weight'], 2e-4)
        close(output.boxes[0], golden['reference'], 2e-5)
    close(here.features[:, :, ::2, ::2], here.golden['mask_features.slice'], 2e-3)


@pytest.mark.parametrize('modules', [False, True])
@pytest.mark.parametrize(('file', 'clip'), CLIPS)
def test_clip(file: str, clip: str, modules: bool) -> None:
    """What the last layer says, and the masks of the best."""
    here = run(file, clip, modules)
    golden, last, net = here.golden, here.outputs[-1], network(modules)
    close(here.memory[0, :, ::19, ::8], golden['memory.slice'], 2e-4)
    close(here.outputs[0].centers[0, 0], golden['init_reference'], 2e-5)
    step = -(-last.instances.shape[1] // len(golden['instance']))
    close(last.instances[0, ::step], golden['instance'], 2e-4)
    close(last.logits[0], golden['logits'], 2e-4)
    close(last.boxes[0], golden['boxes'], 2e-5)
    chosen = Selection.of(last.logits[0], here.spec.get('top', 10), all_classes=True)
    np.testing.assert_array_equal(chosen.queries.numpy(), golden['top.query'])
    np.testing.assert_array_equal(chosen.classes.numpy(), golden['top.class'])
    close(chosen.scores, golden['top.score'], 1e-4)
    queries, _ = chosen.distinct_queries()
    np.testing.assert_array_equal(queries.numpy(), golden['mask.query'])
    parameters = net.mask_parameters(last, 0, queries)
    close(parameters, golden['params'], 2e-4)
    centers = net.mask_centers(last, 0, queries, here.grid)
    close(centers, golden['mask_reference'], 1e-2)
    logits = mask_logits(here.features, parameters, centers)
    step = -(-logits.shape[-1] // golden['mask_logits'].shape[-1])
    close(logits[..., ::step, ::step], golden['mask_logits'], 1e-3)
    pixels = image_logits(logits, tuple(here.spec['original'])).sigmoid() > 0.5
    np.testing.assert_array_less(
        np.abs(pixels.sum((2, 3)).numpy() - golden['mask.pixels']), golden['mask.near'] + 1
    )


def test_frames_do_not_depend_on_their_clip() -> None:
    """The memories that a stream keeps are those of the whole clip."""
    whole, single, window = (run('golden_resnet50', name) for name in ('clip', 'single', 'window'))
    torch.testing.assert_close(single.memory[0, 0], whole.memory[0, 0], rtol=0, atol=1e-5)
    torch.testing.assert_close(window.memory[0], whole.memory[0, 1:], rtol=0, atol=1e-5)


@pytest.mark.parametrize('modules', [False, True])
@pytest.mark.parametrize(('file', 'clip'), CLIPS)
def test_whole_video(file: str, clip: str, modules: bool) -> None:
    """The instances of a video as a user gets them, from the network prepared for inference."""
    golden = arrays(file)
    spec = json.loads(str(golden['spec']))
    size = tuple(spec['size'])
    frames = [spec['frames'][i] for i in spec['clips'][clip]]
    images = [
        ScaledImage(np.ascontiguousarray(CLIP.frame(t, *size, seed)[..., ::-1]),
                    Geometry(size, size, size))
        for seed, t in frames
    ]
    own = {k.removeprefix(f'{clip}/'): v for k, v in golden.items() if k.startswith(f'{clip}/')}
    original = tuple(spec['original'])
    with torch.inference_mode():
        found = segment_video(
            prepared(modules), images, original, torch.device('cpu'), spec.get('top', 10), True
        )
    assert [instance.class_id for instance in found] == own['top.class'].tolist()
    np.testing.assert_allclose(
        [instance.score for instance in found], own['top.score'], atol=1e-4
    )
    places = {query: k for k, query in enumerate(own['mask.query'].tolist())}
    for instance, query in zip(found, own['top.query'].tolist(), strict=True):
        k = places[query]
        for t, mask in enumerate(instance.masks):
            bits = np.packbits(mask.to_full(*original))
            wrong = int(np.unpackbits(bits ^ own['mask.bits'][k, t]).sum())
            assert wrong <= own['mask.near'][k, t]


@lru_cache(maxsize=1)
def prepared(modules: bool) -> MSTS:
    return prepared_for_inference(network(modules), torch.device('cpu'))
