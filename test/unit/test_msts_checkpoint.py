# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of SeqFormer and MS-STS, in both layouts, and what is refused."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from small_msts import small_config, small_network
from torch import Tensor

from stmask_ros.cli import main
from stmask_ros.families.errors import ModelError, UnrecognisedError
from stmask_ros.families.msts.config import MSTSConfig
from stmask_ros.families.msts.family import MSTS_FAMILY
from stmask_ros.families.msts.network import MSTS
from stmask_ros.tracking.segmenter import load_segmenter

DATA = Path(__file__).resolve().parents[1] / 'conformance/data/msts'
NAMES = ('resnet50', 'resnet50_seqformer', 'resnet101', 'resnet101_seqformer')


def manifest(name: str) -> dict[str, Tensor]:
    """Return tensors without numbers of the shapes of a released checkpoint."""
    shapes = json.loads((DATA / f'manifest_{name}.json').read_text())
    return {key: torch.empty(its['shape'], device='meta') for key, its in shapes.items()}


def official(network: MSTS) -> dict[str, Tensor]:
    """Return a network's tensors as the released code names them."""
    renamed: dict[str, Tensor] = {}
    for key, value in network.state_dict().items():
        if not key.endswith('num_batches_tracked') or 'stem' in key:
            renamed[official_name(key)] = value
    return renamed


def official_name(key: str) -> str:
    for pattern, replacement in (
        (r'^backbone\.layers\.(\d)\.', lambda m: f'detr.backbone.0.body.layer{int(m[1]) + 1}.'),
        (r'^backbone\.', 'detr.backbone.0.body.'),
        (r'^decoder\.(class_embed|query_embed|bbox_embed)\.', r'detr.\1.'),
        (r'^decoder\.reference_points\.', 'detr.transformer.reference_points.'),
        (r'^(encoder|decoder|level_embed)', r'detr.transformer.\1'),
        (r'^input_proj', 'detr.input_proj'),
    ):
        renamed, count = re.subn(pattern, replacement, key)
        if count:
            return renamed
    return key


@pytest.fixture(autouse=True)
def _without_comparing_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    # Tensors on the meta device have none.
    equal = torch.equal
    monkeypatch.setattr(
        torch, 'equal', lambda a, b: True if a.is_meta else equal(a, b)
    )


@pytest.mark.parametrize('name', NAMES)
def test_released_layouts_are_recognised(name: str) -> None:
    tensors = MSTS_FAMILY.renamed(manifest(name))
    recognised = MSTS_FAMILY.recognise(tensors)
    assert recognised.configuration == f'SeqFormer_{name.removesuffix("_seqformer")}'
    assert recognised.num_classes == 40
    assert recognised.options == {}


@pytest.mark.parametrize('name', NAMES)
def test_all_other_tensors_are_needed(name: str) -> None:
    tensors = manifest(name)
    for key in ('detr.level_embed', 'detr.transformer.level_embed', 'mask_head.dcn.bias',
                'detr.transformer.decoder.layers.3.norm3_box.weight', 'detr.input_proj.3.1.bias'):
        if key in tensors:
            less = {k: v for k, v in tensors.items() if k != key}
            with pytest.raises(UnrecognisedError):
                MSTS_FAMILY.recognise(MSTS_FAMILY.renamed(less))
    more = tensors | {'detr.transformer.decoder.extra': torch.empty(1, device='meta')}
    with pytest.raises(UnrecognisedError, match=r'decoder\.extra'):
        MSTS_FAMILY.recognise(MSTS_FAMILY.renamed(more))


@pytest.mark.parametrize('options', [
    {'encoder_layers': 3, 'decoder_layers': 3}, {'queries': 50, 'channels': 128},
    {'backbone': 'efficientnet_lite0', 'encoder': 'msts', 'box_attention': True},
    {'num_classes': 25}, {'points': 2, 'feedforward': 512},
])
def test_options_are_read_from_the_tensors(options: dict[str, Any]) -> None:
    config = MSTSConfig(**options)
    with torch.device('meta'):
        tensors = MSTS(config).state_dict()
    recognised = MSTS_FAMILY.recognise(tensors)
    assert MSTS_FAMILY.configuration(
        recognised.configuration, recognised.num_classes, recognised.options
    ) == MSTSConfig.named(recognised.configuration, **options)


def test_tensors_of_others_are_not_taken() -> None:
    with pytest.raises(UnrecognisedError, match='no checkpoint of SeqFormer'):
        MSTS_FAMILY.recognise({'backbone.conv1.weight': torch.zeros(1)})


def test_two_names_must_say_the_same() -> None:
    tensors = official(small_network(backbone='resnet50'))
    key = 'detr.bbox_embed.0.layers.0.weight'
    other = 'detr.transformer.decoder.bbox_embed.0.layers.0.weight'
    MSTS_FAMILY.renamed(tensors | {other: tensors[key]})
    with pytest.raises(ModelError, match='second name'):
        MSTS_FAMILY.renamed(tensors | {other: tensors[key] + 1})


def test_conversion(tmp_path: Path) -> None:
    # As the authors save it: with more than the tensors, and with names that are never read.
    network = small_network(backbone='resnet50', heads=8, num_classes=40)
    tensors = official(network)
    tensors['detr.transformer.decoder.layers.0.temp_attn_box.qkv.weight'] = torch.zeros(3)
    options = argparse.Namespace(lr=2e-4, backbone='resnet50')
    torch.save({'model': tensors, 'epoch': 3, 'args': options}, tmp_path / 'r50.pth')
    out = tmp_path / 'r50.safetensors'
    assert main(['convert', str(tmp_path / 'r50.pth'), str(out), '--classes',
                 'youtube_vis_2019']) == 0
    segmenter = load_segmenter(out)
    assert segmenter.stepper.network.config.decoder_layers == 2
    name = 'detr.transformer.encoder.layers.1.linear1.weight'
    torch.testing.assert_close(
        segmenter.network.encoder.layers[1].linear1.weight, tensors[name], rtol=0, atol=0
    )


def test_wrong_options_are_refused() -> None:
    for options, name in (
        ({'channels': 100}, 'channels'), ({'window': 0}, 'window'), ({'encoder': 'x'}, 'encoder'),
        ({'backbone': 'vgg'}, 'backbone'), ({'dropout': 1.0}, 'dropout'),
    ):
        with pytest.raises(ValueError, match=name):
            small_config(**options)
    with pytest.raises(ValueError, match='known'):
        MSTSConfig.named('nothing')
    with pytest.raises(ValueError, match='known'):
        MSTSConfig.named('msts_lite', size=3)


def test_fresh_weights_come_from_their_seed() -> None:
    first, again, other = (small_network(seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first['decoder.layers.0.linear1.bias'],
                           other['decoder.layers.0.linear1.bias'])
