# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""SipMask's operators, one by one, against the reference's numbers."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from siblings import Golden, Sibling, close
from torch import Tensor

from stmask_ros.families.sipmask.association import Seen, matching_scores
from stmask_ros.families.sipmask.config import SipMaskConfig
from stmask_ros.families.sipmask.detection import (
    Candidates,
    DetectionRules,
    Survivors,
    clamped,
    decode,
    suppress,
)
from stmask_ros.families.sipmask.follow import follow
from stmask_ros.families.sipmask.masks import assemble, binary_masks, sub_regions
from stmask_ros.families.sipmask.network import embedding_cells
from stmask_ros.families.sipmask.preprocess import preprocess, scale_of, scaled
from stmask_ros.families.sipmask.towers import FeatureAlignment
from stmask_ros.families.sipmask.tracks import SipMaskTracker, TrackTable
from stmask_ros.layers.deformable import deformable_convolution

CPU = torch.device('cpu')


@pytest.fixture(scope='module')
def sibling(reference_numbers: Path) -> Sibling:
    return Sibling.of(reference_numbers, 'sipmask')


@pytest.mark.parametrize('case', range(6))
def test_preprocess(sibling: Sibling, case: int) -> None:
    numbers = sibling.numbers('ops/preprocess')
    g = {k.removeprefix(f'{case}.'): v for k, v in numbers.items() if k.startswith(f'{case}.')}
    config = SipMaskConfig(long_side=int(g['limits'][0]), short_side=int(g['limits'][1]))
    height, width = (int(side) for side in g['size'])
    image = next(
        frame for t in range(8)
        if digest(frame := sibling.clip.frame(t, height, width, 'public')) == g['image.sha256']
    )
    ours = scaled(image, config)
    assert ours.geometry.scaled == tuple(g['img_shape'])
    assert ours.geometry.padded == tuple(g['pad_shape'])
    assert scale_of((height, width), config) == float(g['scale_factor'])
    assert digest(ours.pixels) == g['resized.sha256']
    x = preprocess([image], config, CPU)[0]
    np.testing.assert_allclose(x.double().sum((1, 2)), g['sum'], rtol=1e-6)
    close(x[:, ::23, ::29], g['slice'], 1e-4)


def digest(pixels: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


@pytest.mark.parametrize('level', range(3))
def test_decode(sibling: Sibling, level: int) -> None:
    g = sibling.numbers('ops/decode')
    boxes = decode(
        torch.from_numpy(g[f'{level}.points']), torch.from_numpy(g[f'{level}.distance'])
    )
    close(boxes, g[f'{level}.free'], 0)
    close(clamped(boxes, torch.from_numpy(g['max_shape'])), g[f'{level}.clamped'], 0)


def test_deformable_convolution(sibling: Sibling) -> None:
    x = sibling.randn('dcn/x', (2, 16, 7, 9))
    offset = 2.5 * sibling.randn('dcn/offset', (2, 72, 7, 9))
    weight = 0.3 * sibling.randn('dcn/weight', (8, 16, 3, 3))
    out = deformable_convolution(x, offset, weight, padding=(1, 1), groups=4)
    close(out, sibling.numbers('ops/deform_conv')['out'], 1e-5)


@torch.inference_mode()
def test_feature_alignment(sibling: Sibling) -> None:
    g = sibling.numbers('ops/feature_align')
    layer = FeatureAlignment(256, 32)
    part = 'bbox_head.feat_align.'
    layer.load_state_dict({
        key.removeprefix(part): value for key, value in sibling.weights().items()
        if key.startswith(part)
    })
    x = F.relu(sibling.randn('align/x', (2, 256, 9, 13)))
    offset = layer.conv_offset(3.5 + 1.5 * sibling.randn('align/shape', (2, 4, 9, 13)))
    close(offset[:, ::3], g['offset'], 1e-5)
    out = layer(x, offset)
    close(out[:, ::8], g['out'], 1e-4)
    np.testing.assert_allclose(out.double().sum((2, 3)), g['out_sum'], atol=1e-3)


@pytest.mark.parametrize('grid', [2, 3, 4])
def test_sub_regions(sibling: Sibling, grid: int) -> None:
    g = sibling.numbers('ops/crop_split')
    boxes = torch.from_numpy(g['boxes'])
    grids = torch.full((len(boxes),), grid)
    regions, inside = sub_regions(boxes, grids, *g['size'])
    cells = torch.where(inside, regions, -1).permute(1, 2, 0)
    np.testing.assert_array_equal(cells.numpy(), g[f'cell{grid}'])
    maps = sibling.uniform(f'crop/maps{grid}', (grid**2, 24, 40, 24))
    shown = maps.gather(0, regions.permute(1, 2, 0)[None])[0] * inside.permute(1, 2, 0)
    np.testing.assert_allclose(shown.double().sum((0, 1)), g[f'out{grid}.sum'], rtol=1e-5)


@pytest.mark.parametrize('case', range(4))
def test_mask_assembly(sibling: Sibling, case: int) -> None:
    g = sibling.numbers('ops/mask_assembly')
    prototypes = sibling.randn('asm/proto', (48, 80, 32)).relu().permute(2, 0, 1)
    coefficients = 1.2 * sibling.randn('asm/cof', (24, 128))
    boxes = torch.from_numpy(g['boxes'])
    soft = assemble(prototypes, coefficients, boxes, torch.full((24,), 2))
    close(soft[:, ::2, ::2], g['soft'], 1e-5)
    np.testing.assert_allclose(soft.double().sum((1, 2)), g['soft_sum'], rtol=1e-5, atol=1e-4)
    height, width = (int(side) for side in g[f'r{case}.size'])
    scale = float(g[f'r{case}.scale_factor'])
    masks = binary_masks(soft, (scale, scale), (height, width))
    bits = [np.packbits(mask.to_full(height, width)) for mask in masks]
    assert_bits_differ_at_most(bits, g[f'r{case}.bits'], g[f'r{case}.near'])


def assert_bits_differ_at_most(
    bits: list[np.ndarray], expected: np.ndarray, most: np.ndarray
) -> None:
    assert len(bits) == len(expected)
    for ours, theirs, limit in zip(bits, expected, most, strict=True):
        assert np.unpackbits(ours ^ theirs).sum() <= limit


@pytest.mark.parametrize('case', ['dense', 'dense100', 'few', 'topk', 'none', 'one', 'hand'])
@pytest.mark.parametrize('batch', [False, True])
def test_suppression(sibling: Sibling, case: str, batch: bool) -> None:
    numbers = sibling.numbers('ops/fast_nms')
    g = {k.removeprefix(f'{case}/'): v for k, v in numbers.items() if k.startswith(f'{case}/')}
    if case == 'hand':
        scores, rules = torch.from_numpy(g['scores']), DetectionRules(max_detections=100)
    else:
        scores = sibling.uniform(f'{case}/score', tuple(int(n) for n in g['num_scores']))**4
        rules = DetectionRules(
            float(g['score_thr']), float(g['iou_thr']), int(g['top_k']), int(g['max_per_img'])
        )
    kept = suppress(candidates(torch.from_numpy(g['boxes']), scores, batch), rules)
    if batch:
        kept = Survivors(kept.boxes[0], kept.scores[0], kept.classes[0], kept.cells[0])
        kept = kept.rows(kept.valid)
    np.testing.assert_array_equal(kept.cells, g['index'])
    np.testing.assert_array_equal(kept.classes - 1, g['class'])
    close(kept.scores, g['score'], 1e-6)


def candidates(boxes: Tensor, scores: Tensor, batch: bool) -> Candidates:
    columns = (
        torch.ones(len(boxes), dtype=torch.bool), torch.arange(len(boxes)), boxes, scores,
        torch.ones(len(boxes)),
    )
    return Candidates(*(column[None] if batch else column for column in columns))


def test_embedding_cells(sibling: Sibling) -> None:
    g = sibling.numbers('ops/embedding')
    cells = embedding_cells(torch.from_numpy(g['boxes']), torch.tensor(1.0), (6, 10))
    np.testing.assert_array_equal(torch.stack((cells // 10, cells % 10), 1), g['cell'])
    table = sibling.randn('emb/map', (512, 6, 10)).flatten(1).T
    close(table[cells][:, ::8], g['out'], 0)


def test_tracker(sibling: Sibling) -> None:
    """Every case of claims, exact ties too; the former video stays on an empty first frame."""
    numbers = sibling.numbers('ops/tracker')
    empty = TrackTable.empty(SipMaskConfig(), CPU)
    tracks, rules = empty, SipMaskTracker.as_published()
    for k in range(19):
        g = {n.removeprefix(f'f{k}/'): v for n, v in numbers.items() if n.startswith(f'f{k}/')}
        detections, embeddings = scripted(g)
        if bool(g['first']) and len(detections):
            tracks = empty
        if 'score' in g:
            found = Seen(detections.boxes, embeddings, detections.classes)
            close(matching_scores(found, detections.scores, tracks.seen), g['score'], 1e-4)
        after = follow(tracks, detections, embeddings, len(tracks) + 1, k, rules)
        tracks = after.tracks
        np.testing.assert_array_equal(after.claims, g['ids'])
        if 'mem.boxes' in g:
            boxes = torch.cat((tracks.boxes, tracks.scores[:, None]), 1)
            close(boxes, g['mem.boxes'], 0)
            np.testing.assert_array_equal(tracks.classes - 1, g['mem.labels'])
            close(tracks.embeddings.double().sum(1), g['mem.emb_sum'], 1e-5)


def scripted(g: Golden) -> tuple[Survivors, Tensor]:
    boxes, labels = torch.from_numpy(g['boxes']), torch.from_numpy(g['labels']) + 1
    return Survivors(boxes[:, :4], boxes[:, 4], labels, labels), torch.from_numpy(g['emb'])
