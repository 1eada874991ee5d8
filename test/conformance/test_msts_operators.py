# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Every operator of MS-STS against the reference's own inputs and outputs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
from msts_reference import CLIP, arrays, close, filled_part, randn, uniform
from torch import Tensor

from stmask_ros.families.msts.config import MSTSConfig
from stmask_ros.families.msts.deformable_attention import (
    DeformableAttention,
    InstanceAttention,
    sample_maps,
    sample_rows,
)
from stmask_ros.families.msts.masks import MaskHead, aligned_bilinear, mask_logits
from stmask_ros.families.msts.position import position_code, token_references
from stmask_ros.families.msts.preprocess import network_size, normalised, resized
from stmask_ros.families.msts.selection import Selection, image_logits

MANIFEST = 'resnet50_seqformer'
CONFIG = MSTSConfig()


def shapes(golden: dict[str, np.ndarray]) -> list[tuple[int, int]]:
    return [(int(height), int(width)) for height, width in golden['shapes']]


@pytest.mark.parametrize('number', range(5))
def test_preprocess(number: int) -> None:
    golden = {k.split('.', 1)[1]: v for k, v in arrays('ops/preprocess').items()
              if k.startswith(f'{number}.')}
    height, width = map(int, golden['size'])
    seed = str(arrays('ops/preprocess')['clip_seed'])
    image = CLIP.frame(number, height, width, seed)
    if hashlib.sha256(image.tobytes()).hexdigest() != str(golden['image.sha256']):
        image = next(
            frame for t in range(40) for frame in [CLIP.frame(t, height, width, seed)]
            if hashlib.sha256(frame.tobytes()).hexdigest() == str(golden['image.sha256'])
        )
    small = resized(image, 360)
    assert network_size((height, width), 360) == tuple(golden['resized.shape'])
    np.testing.assert_array_equal(
        hashlib.sha256(small.tobytes()).hexdigest(), str(golden['resized.sha256'])
    )
    (out,) = normalised([small])
    np.testing.assert_allclose(out.double().sum((1, 2))[None], golden['sum'], rtol=1e-6)


@pytest.mark.parametrize('formulation', [sample_rows, sample_maps])
def test_sampling(formulation: Callable[..., Tensor]) -> None:
    golden = arrays('ops/ms_deform_attn')
    out = formulation(
        randn('msda/value', (2, 83, 8, 32)), shapes(golden),
        *torch.from_numpy(golden['loc']).unbind(-1), torch.from_numpy(golden['weight']),
    )
    close(out, golden['out'], 1e-5)


@pytest.mark.parametrize('formulation', [sample_rows, sample_maps])
def test_sampling_gradients(formulation: Callable[..., Tensor]) -> None:
    # By finite differences, in double precision, at places of which some are outside.
    torch.manual_seed(0)
    sizes = [(3, 4), (2, 2)]
    value = torch.randn(2, 16, 2, 3, dtype=torch.double, requires_grad=True)
    places = torch.rand(2, 3, 2, 2, 2, 2, dtype=torch.double) * 1.4 - 0.2
    weights = torch.rand(2, 3, 2, 2, 2, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda *given: formulation(given[0], sizes, *given[1].unbind(-1), given[2]),
        (value, places.requires_grad_(), weights),
    )


@pytest.mark.parametrize('padded', [False, True])
def test_encoder_attention(padded: bool) -> None:
    golden = arrays('ops/attention_module')
    attention = DeformableAttention(CONFIG)
    weights = filled_part(MANIFEST, 'detr.transformer.encoder.layers.0.self_attn.')
    attention.load_state_dict({k: v for k, v in weights.items() if '_box' not in k})
    frames = (randn('attn/query', (1, 2, 83, 256)), randn('attn/src', (1, 2, 83, 256)))
    query, source = (each[0] for each in frames)
    references = uniform('attn/ref', (1, 83, 4, 2)).expand(2, -1, -1, -1)
    padding = torch.from_numpy(golden['padding'])[0] if padded else None
    out = attention(query, references, source, shapes(golden), padding)
    close(out[None, ..., ::4], golden['encode_padded' if padded else 'encode'], 2e-5)


@pytest.mark.parametrize(('name', 'numbers'), [('first', 2), ('later', 4)])
def test_decoder_attention(name: str, numbers: int) -> None:
    golden = arrays('ops/attention_module')
    attention = InstanceAttention(CONFIG)
    attention.load_state_dict(
        filled_part(MANIFEST, 'detr.transformer.decoder.layers.1.cross_attn.')
    )
    query = (
        randn('attn/qb3', (1, 9, 256)).expand(2, -1, -1) if name == 'first'
        else randn('attn/qb4', (1, 2, 9, 256))[0]
    )
    references = uniform(f'attn/r{numbers}', (1, 2, 9, 4, numbers))[0]
    both = attention.both(
        query, references, randn('attn/src', (1, 2, 83, 256))[0], shapes(golden),
        torch.from_numpy(golden['padding'])[0],
    )
    for stream, actual in zip(('instance', 'box'), both, strict=True):
        close(actual[None], golden[f'decode_{name}.{stream}'], 2e-5)


@pytest.mark.parametrize('number', range(3))
def test_position(number: int) -> None:
    golden = arrays('ops/position')
    height, width, valid_height, valid_width = map(int, golden[f'{number}.size'])
    valid = torch.zeros((1, height, width), dtype=torch.bool)
    valid[:, :valid_height, :valid_width] = True
    close(position_code(valid, 256)[0], golden[f'{number}.out'], 1e-5)


def test_token_references() -> None:
    golden = arrays('ops/position')
    actual = token_references(shapes(golden), torch.from_numpy(golden['valid_ratios']))
    close(actual, golden['reference_points'], 1e-6)


def test_mask_features() -> None:
    head = MaskHead(CONFIG)
    head.load_state_dict(filled_part(MANIFEST, 'mask_head.'))
    sizes = ((9, 13), (5, 7), (3, 4))
    levels = [randn(f'mh/{i}', (1, 256, *size)) for i, size in enumerate(sizes)]
    close(head(levels)[0], arrays('ops/mask_features')['out'], 2e-4)


def test_dynamic_masks() -> None:
    golden = arrays('ops/dynamic_mask')
    x = randn('ab/x', (2, 3, 5, 7))
    for factor in (1, 2, 4):
        close(aligned_bilinear(x, factor), golden[f'aligned{factor}'], 1e-5)
    features = (8 * randn('dyn/features', (1, 8, 12, 20))).relu()
    parameters = 0.3 * randn('dyn/params', (1, 11, 169))[0]
    centers = torch.from_numpy(golden['reference'])
    actual = mask_logits(features, parameters, centers)[:, 0]
    np.testing.assert_allclose(actual.numpy(), golden['logits'], rtol=1e-5, atol=1e-3)


def test_selection() -> None:
    golden = arrays('ops/selection')
    chosen = Selection.of(torch.from_numpy(golden['logits']), 10, all_classes=True)
    np.testing.assert_allclose(chosen.scores.numpy(), golden['score'], atol=1e-6)
    np.testing.assert_array_equal(chosen.queries.numpy(), golden['query'])
    np.testing.assert_array_equal(chosen.classes.numpy(), golden['cls'])
    queries, rows = chosen.distinct_queries()
    np.testing.assert_array_equal(queries.numpy(), golden['order'])
    np.testing.assert_array_equal(queries[rows].numpy(), golden['query'])
    size = (int(golden['size'][0]), int(golden['size'][1]))
    logits = torch.stack([1.5 * randn(f'sel/mask{int(q)}', (3, 12, 20)) for q in queries])
    logits[2] = -5
    pixels = (image_logits(logits, size).sigmoid() > 0.5).numpy()
    np.testing.assert_array_equal(pixels.sum((2, 3)), golden['pixels'])
    np.testing.assert_array_equal(pixels.any((1, 2, 3)), golden['reported'])
    np.testing.assert_array_equal(np.packbits(pixels.reshape(8, 3, -1), -1), golden['bits'])


def test_unused_classes_do_not_win() -> None:
    logits = torch.full((3, 42), -3.0)
    logits[0, 0] = logits[1, 41] = 5
    logits[2, 7] = 1
    first = Selection.of(logits, 2)
    assert first.queries[0] == 2 and first.classes[0] == 7
    assert not {0, 41} & set(first.classes.tolist())
    assert {0, 41} == set(Selection.of(logits, 2, all_classes=True).classes.tolist())
