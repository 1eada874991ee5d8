# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The configurations of MS-STS VIS and of SeqFormer, which it computes without its modules."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

Backbone = Literal['resnet50', 'resnet101', 'efficientnet_lite0']
Encoder = Literal['per_frame', 'msts']

# Of the 8x8 dynamic convolutions of a mask: features, and channels in between.
MASK_CHANNELS = 8


@dataclass(frozen=True)
class MSTSConfig:
    """
    Everything that decides the shapes and the arithmetic of the network (specification, 1).

    num_classes: K; there are K + 2 logits, one a category id, the first and the last unused.
    encoder_layers, decoder_layers: of the transformer. queries: instances that it can tell.
    channels, heads, points, feedforward: of every attention and of the layers behind it.
    encoder: 'per_frame' as released; 'msts' adds the paper's attention over scales and frames.
    box_attention: whether box queries attend to their own frames (the paper's second module).
    dropout: in training. varied: whether training varies colors, crops and sizes of clips as the
    authors do (specification, 9).
    short_side: of the image that the network sees [pixel]. window: frames, live.
    """

    num_classes: int = 40
    backbone: Backbone = 'resnet50'
    encoder_layers: int = 6
    decoder_layers: int = 6
    queries: int = 300
    channels: int = 256
    heads: int = 8
    points: int = 4
    feedforward: int = 1024
    encoder: Encoder = 'per_frame'
    box_attention: bool = False
    dropout: float = 0.1
    varied: bool = False
    short_side: int = 360
    window: int = 5

    def __post_init__(self) -> None:
        """Raise ValueError for options that do not exist or do not go together."""
        for name, kind in (('backbone', Backbone), ('encoder', Encoder)):
            if getattr(self, name) not in get_args(kind):
                raise ValueError(
                    f'{name}: expected {" or ".join(get_args(kind))}, got {getattr(self, name)!r}'
                )
        for name in ('num_classes', 'encoder_layers', 'decoder_layers', 'queries', 'heads',
                     'points', 'feedforward', 'short_side', 'window'):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f'{name}: expected a whole number of 1 or more, got {value!r}')
        # Each of 32 groups that are normed needs two values, even in a map of one cell.
        if self.channels % 64 or self.channels % self.heads or self.channels < 1:
            raise ValueError(
                f'channels: expected a multiple of 64 and of {self.heads} heads, '
                f'got {self.channels}'
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f'dropout: expected 0 to 1, got {self.dropout}')

    @classmethod
    def named(cls, name: str, **changes: Any) -> MSTSConfig:
        """
        Return a configuration by its name, with fields changed.

        Raises ValueError for an unknown name or field, listing the known ones.
        """
        if name not in _NAMED:
            raise ValueError(f'unknown configuration {name!r}; known: {", ".join(_NAMED)}')
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(changes) - known):
            raise ValueError(f'unknown options {unknown}; known: {sorted(known)}')
        return replace(_NAMED[name], **changes)

    @classmethod
    def names(cls) -> list[str]:
        """Return the names of all configurations."""
        return list(_NAMED)

    @property
    def logits(self) -> int:
        """Class logits of a query."""
        return self.num_classes + 2


_SEQFORMER = MSTSConfig()

# Specification, section 1; what their authors released as MS-STS computes SeqFormer.
_NAMED = {
    'SeqFormer_resnet50': _SEQFORMER,
    'SeqFormer_resnet101': replace(_SEQFORMER, backbone='resnet101'),
    'MSTS_resnet50': replace(_SEQFORMER, encoder='msts', box_attention=True),
    'MSTS_resnet101': replace(
        _SEQFORMER, backbone='resnet101', encoder='msts', box_attention=True
    ),
    # Ours: small enough for a CPU.
    'msts_lite': MSTSConfig(
        num_classes=4, backbone='efficientnet_lite0', encoder_layers=3, decoder_layers=3,
        queries=50, channels=128, feedforward=512, short_side=192,
    ),
}
