# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The configurations of SipMask-VIS (specification, section 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeVar, get_args

Backbone = Literal['resnet50', 'resnet101', 'tiny']
# Blocks of the four stages, and channels of the stem.
BACKBONES: dict[str, tuple[tuple[int, int, int, int], int]] = {
    'resnet50': ((3, 4, 6, 3), 64),
    'resnet101': ((3, 4, 23, 3), 64),
    'tiny': ((1, 1, 1, 1), 8),
}


@dataclass(frozen=True)
class SipMaskConfig:
    """
    Everything that decides the shapes and the arithmetic of the network.

    backbone: 'tiny' is ours, for tests. num_classes: without a background, which has no channel.
    channels: of the pyramid and of the towers. norm_groups: of their group normalisation.
    class_units, box_units, track_units: convolutions of each tower; older checkpoints have more.
    mask_channels: between the two convolutions that make the prototypes.
    mask_kernel, track_kernel: sides of the convolutions over the joined levels, 1 or 3.
    long_side, short_side: an image is resized to fit into these, its aspect kept, and also
        enlarged to them [pixel].
    training_long_sides, training_short_sides: first and last of the sides that a training draws
        from [pixel].
    """

    backbone: Backbone = 'resnet50'
    num_classes: int = 40
    channels: int = 256
    norm_groups: int = 32
    num_prototypes: int = 32
    embedding_size: int = 512
    class_units: int = 2
    box_units: int = 3
    track_units: int = 2
    mask_channels: int = 512
    mask_kernel: int = 1
    track_kernel: int = 1
    long_side: int = 640
    short_side: int = 360
    training_long_sides: tuple[int, int] = (640, 640)
    training_short_sides: tuple[int, int] = (360, 360)

    def __post_init__(self) -> None:
        """Raise ValueError for options that do not exist or do not go together."""
        if self.backbone not in BACKBONES:
            raise ValueError(
                f'backbone: expected {" or ".join(get_args(Backbone))}, got {self.backbone!r}'
            )
        for name, value in vars(self).items():
            if isinstance(value, int) and value < 1 and not isinstance(value, bool):
                raise ValueError(f'{name}: expected 1 or more, got {value}')
        if self.channels % self.norm_groups or self.channels % 4:
            raise ValueError(
                f'channels: expected a multiple of norm_groups {self.norm_groups} and of 4, '
                f'got {self.channels}'
            )
        for name in ('mask_kernel', 'track_kernel'):
            if getattr(self, name) not in (1, 3):
                raise ValueError(f'{name}: expected 1 or 3, got {getattr(self, name)}')
        if self.short_side > self.long_side:
            raise ValueError(
                f'short_side: expected at most long_side {self.long_side}, got {self.short_side}'
            )
        for name in ('training_long_sides', 'training_short_sides'):
            first, last = getattr(self, name)
            if not 1 <= first <= last:
                raise ValueError(f'{name}: expected a first and a last side, got {(first, last)}')

    @classmethod
    def named(cls, name: str, **changes: Any) -> SipMaskConfig:
        """
        Return a configuration by its name, with fields changed.

        Raises ValueError for an unknown name or field, listing the known ones.
        """
        return changed(_NAMED, name, changes)

    @classmethod
    def names(cls) -> list[str]:
        """Return the name of each configuration."""
        return list(_NAMED)


_Config = TypeVar('_Config', bound=SipMaskConfig)


def changed(known: Mapping[str, _Config], name: str, changes: Mapping[str, Any]) -> _Config:
    """Return one of the known configurations with fields changed; ValueError if unknown."""
    if name not in known:
        raise ValueError(f'unknown configuration {name!r}; known: {", ".join(known)}')
    options = {field.name for field in fields(known[name])}
    if unknown := sorted(set(changes) - options):
        raise ValueError(f'unknown options {unknown}; known: {sorted(options)}')
    tuples: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in changes.items()
    }
    return replace(known[name], **tuples)


_NAMED = {
    'sipmask_r50_caffe_fpn_gn_1x': SipMaskConfig(),
    'sipmask_r50_caffe_fpn_gn_ms_1x': SipMaskConfig(
        training_long_sides=(649, 960), training_short_sides=(360, 480)
    ),
    'sipmask_r101_caffe_fpn_gn': SipMaskConfig('resnet101'),
    # Ours: small enough for tests.
    'sipmask_tiny': SipMaskConfig(
        'tiny', num_classes=3, channels=16, norm_groups=4, num_prototypes=8, embedding_size=16,
        mask_channels=16, long_side=128, short_side=96, training_long_sides=(128, 128),
        training_short_sides=(96, 96),
    ),
}
