# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Which configuration a checkpoint belongs to, read from the names and shapes of its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from stmask_ros.families.errors import ModelError, UnrecognisedError
from stmask_ros.families.family import Recognised
from stmask_ros.families.msts.config import MSTSConfig
from stmask_ros.families.msts.deformable_attention import LEVELS
from stmask_ros.families.msts.network import MSTS
from stmask_ros.families.shapes import Shapes, shapes_of

_NAMED = 5


def recognise(tensors: Mapping[str, Tensor], configuration: str | None = None) -> Recognised:
    """
    Return the name of the tensors' configuration and the options that differ from it.

    tensors: as layout.own_tensors() returns them; layers, queries, channels, classes, backbone
    and the paper's modules are read from them. Raises UnrecognisedError for tensors of another
    network, and for names and shapes that no configuration has, naming some.
    """
    shapes = shapes_of(tensors)
    if 'decoder.query_embed.weight' not in shapes or 'level_embed' not in shapes:
        raise UnrecognisedError(
            f'{len(shapes)} tensors, but no checkpoint of SeqFormer or MS-STS', len(shapes)
        )
    try:
        found = _found(shapes)
    except (IndexError, KeyError, ZeroDivisionError) as error:
        raise UnrecognisedError(
            f'this looks like a checkpoint of SeqFormer or MS-STS, but {error} is missing or '
            'has another shape', 1,
        ) from error
    name = configuration or _closest(found)
    try:
        config = MSTSConfig.named(name, **found)
    except ValueError as error:
        raise ModelError(str(error)) from error
    if wrong := sorted(set(_expected(config).items()) ^ set(shapes.items())):
        names = list(dict.fromkeys(key for key, _ in wrong))
        more = f' and {len(names) - _NAMED} more' if len(names) > _NAMED else ''
        raise UnrecognisedError(
            f'no checkpoint of {name}: missing, unknown or of another shape: '
            f'{", ".join(names[:_NAMED])}{more}', len(wrong),
        )
    base = asdict(MSTSConfig.named(name))
    options = {key: value for key, value in found.items() if value != base[key]}
    return Recognised(name, options.pop('num_classes', config.num_classes), options)


def _found(shapes: Shapes) -> dict[str, Any]:
    # The options that the shapes tell.
    samples = shapes['encoder.layers.0.self_attn.attention_weights.weight'][0]
    queries, channels = shapes['decoder.query_embed.weight']
    return {
        'num_classes': shapes['decoder.class_embed.0.weight'][0] - 2,
        'backbone': _backbone(shapes),
        'encoder_layers': _count(shapes, r'encoder\.layers\.(\d+)\.'),
        'decoder_layers': _count(shapes, r'decoder\.layers\.(\d+)\.'),
        'queries': queries,
        'channels': channels // 2,
        'points': samples // (MSTSConfig().heads * LEVELS),
        'feedforward': shapes['encoder.layers.0.linear1.weight'][0],
        'encoder': 'msts' if _has(shapes, '.split_attn.') else 'per_frame',
        'box_attention': _has(shapes, '.temporal_attn_box.'),
    }


def _backbone(shapes: Shapes) -> str:
    if _has(shapes, 'backbone.stem.'):
        return 'efficientnet_lite0'
    return 'resnet101' if _has(shapes, 'backbone.layers.2.22.') else 'resnet50'


def _has(shapes: Shapes, part: str) -> bool:
    return any(part in key for key in shapes)


def _count(shapes: Shapes, pattern: str) -> int:
    return 1 + max(int(found[1]) for key in shapes if (found := re.match(pattern, key)))


def _closest(found: Mapping[str, Any]) -> str:
    def differences(name: str) -> int:
        base = asdict(MSTSConfig.named(name))
        return sum(base[key] != value for key, value in found.items())

    return min(MSTSConfig.names(), key=differences)


@lru_cache(maxsize=16)
def _expected(config: MSTSConfig) -> Shapes:
    with torch.device('meta'):
        network = MSTS(config)
    return shapes_of(network.state_dict())
