# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Which configuration a checkpoint belongs to, read from the names and shapes of its tensors.

Checkpoints of several generations are about (specification, section 11): their towers have more
units, the tracking layer another name, and layers over the joined levels larger kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from stmask_ros.families.errors import ModelError, UnrecognisedError
from stmask_ros.families.family import Recognised
from stmask_ros.families.shapes import Shapes, shapes_of
from stmask_ros.families.sipmask.config import BACKBONES, SipMaskConfig

_TOWERS = {'cls_convs': 'class_units', 'reg_convs': 'box_units', 'track_convs': 'track_units'}


@dataclass(frozen=True)
class Layout:
    """
    How a network's tensors are named.

    mask, track: the layers over the joined levels. aliases: names in older files. further: reads
    what the network alone has from the shapes; returns options of the configuration.
    """

    title: str
    mask: str
    track: str
    aliases: Mapping[str, str]
    configurations: type[SipMaskConfig]
    build: Callable[[Any], nn.Module]
    further: Callable[[Shapes], dict[str, Any]] = lambda _: {}


def renamed(tensors: Mapping[str, Tensor], layout: Layout) -> dict[str, Tensor]:
    """Return the tensors under the names of the published code of today."""
    return {_renamed(key, layout): value for key, value in tensors.items()}


def _renamed(key: str, layout: Layout) -> str:
    for old, new in layout.aliases.items():
        key = key.replace(f'bbox_head.{old}.', f'bbox_head.{new}.')
    return key


def recognise(
    tensors: Mapping[str, Tensor], layout: Layout, configuration: str | None = None
) -> Recognised:
    """
    Return the name of the tensors' configuration and the options that differ from it.

    tensors: as renamed() returns them. configuration: its name, if it is known already.
    Raises UnrecognisedError, with the reason, if none fits.
    """
    shapes = shapes_of(tensors)
    names = [configuration] if configuration is not None else layout.configurations.names()
    options = _options(shapes, layout)
    wrong = {name: _differing(name, options, shapes, layout) for name in names}
    name = min(wrong, key=lambda candidate: len(wrong[candidate]))
    if wrong[name]:
        raise UnrecognisedError(
            _reason(shapes, layout)
            or f'{len(shapes)} tensors, but no {layout.title} checkpoint: {len(wrong[name])} '
            f'names or shapes differ from {name}, such as {", ".join(sorted(wrong[name])[:3])}',
            len(wrong[name]),
        )
    config = layout.configurations.named(name)
    return Recognised(name, options.pop('num_classes', config.num_classes), {
        option: value for option, value in options.items() if value != getattr(config, option)
    })


def _options(shapes: Shapes, layout: Layout) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for tower, option in _TOWERS.items():
        start = f'bbox_head.{tower}.'
        units = {key.removeprefix(start).split('.')[0] for key in shapes if key.startswith(start)}
        if units:
            options[option] = len(units)
    for layer, option in ((layout.mask, 'mask_kernel'), (layout.track, 'track_kernel')):
        if shape := shapes.get(f'bbox_head.{layer}.weight'):
            options[option] = shape[-1]
    if shape := shapes.get('bbox_head.fcos_cls.weight'):
        options['num_classes'] = shape[0]
    return options | layout.further(shapes)


def _differing(
    name: str, options: Mapping[str, Any], shapes: Shapes, layout: Layout
) -> set[str]:
    # Names that are missing, unknown, or of another shape.
    try:
        config = layout.configurations.named(name)
        if config.backbone != _backbone(shapes, config):
            return set(shapes)
        expected = _expected(layout.build, layout.configurations.named(name, **options))
    except ValueError as error:
        raise ModelError(str(error)) from error
    return {key for key, _ in set(expected.items()) ^ set(shapes.items())}


def _backbone(shapes: Shapes, config: SipMaskConfig) -> str:
    # The configuration's own, unless the number of blocks says that it is another.
    blocks = {key.split('.')[2] for key in shapes if key.startswith('backbone.layer3.')}
    return config.backbone if len(blocks) == BACKBONES[config.backbone][0][2] else ''


def _reason(shapes: Shapes, layout: Layout) -> str:
    has_head = {'bbox_head.fcos_cls.weight', f'bbox_head.{layout.mask}.weight'} <= set(shapes)
    if has_head and f'bbox_head.{layout.track}.weight' not in shapes:
        return (
            f'a {layout.title} model of single images: it has no tracking layers (track_convs, '
            f'{layout.track}), so it cannot follow objects; a training can start from it'
        )
    return ''


@lru_cache(maxsize=64)
def _expected(build: Callable[[Any], nn.Module], config: SipMaskConfig) -> Shapes:
    with torch.device('meta'):
        network = build(config)
    return shapes_of(network.state_dict())
