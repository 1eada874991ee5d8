# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The configurations of SG-Net (specification, sections 1, 5 and 6)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from stmask_ros.families.sipmask.config import SipMaskConfig, changed

Granularity = Literal['instance', 'image', 'reference']
RELEASED_GRIDS = (2, 3, 4)


@dataclass(frozen=True)
class SGNetConfig(SipMaskConfig):
    """
    SipMaskConfig, and:

    grids: sub-regions along each side of a box, of a small, a larger and a large one.
    thresholds: areas above which the next grid is taken [pixel of half the network's input].
    granularity: 'instance' takes each object's own area, in training and inference (our reading
        of what the code means); 'image' the mean area of an image's objects, as published for
        training; 'reference' what the published code does in inference, for comparison only.
    motion: whether there is a tracking head that reads how centerness moves. The paper has one
        and says little of it: the design is ours.
    motion_reads: 'features' beside the centerness, or the 'centerness' alone.
    spatial_attention: whether prototypes are weighed by place. Our reading of the paper.
    """

    grids: tuple[int, ...] = RELEASED_GRIDS
    thresholds: tuple[float, ...] = (500.0, 1000.0)
    granularity: Granularity = 'instance'
    motion: bool = False
    motion_reads: Literal['features', 'centerness'] = 'features'
    spatial_attention: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for options that do not exist or do not go together."""
        super().__post_init__()
        for name, choices in (
            ('granularity', get_args(Granularity)), ('motion_reads', ('features', 'centerness'))
        ):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f'{name}: expected {" or ".join(choices)}, got {getattr(self, name)!r}'
                )
        if not self.grids or min(self.grids) < 2:
            raise ValueError(f'grids: expected one or more of at least 2, got {self.grids}')
        if len(self.thresholds) != len(self.grids) - 1 or (
            list(self.thresholds) != sorted(self.thresholds)
        ):
            raise ValueError(
                f'thresholds: expected {len(self.grids) - 1} that rise, for grids {self.grids}, '
                f'got {self.thresholds}'
            )

    @property
    def coefficient_grids(self) -> tuple[int, ...]:
        """The grids that have a layer; published weights have one of 1x1 that nothing reads."""
        return (1, *self.grids) if self.grids == RELEASED_GRIDS else self.grids

    @classmethod
    def named(cls, name: str, **changes: Any) -> SGNetConfig:
        """
        Return a configuration by its name, with fields changed.

        Raises ValueError for an unknown name or field, listing the known ones.
        """
        return changed(_NAMED, name, changes)

    @classmethod
    def names(cls) -> list[str]:
        """Return the name of each configuration."""
        return list(_NAMED)


_R50 = SGNetConfig(training_long_sides=(649, 960), training_short_sides=(360, 480))

_NAMED = {
    'sgnet_r50_caffe_fpn_gn_1x': _R50,
    # Trained from other weights; all else is the same.
    'sgnet_r50_caffe_fpn_gn_ms_1x': _R50,
    'sgnet_r101_caffe_fpn_gn_ms_4x': replace(_R50, backbone='resnet101'),
    # Ours: small enough for tests.
    'sgnet_tiny': SGNetConfig(
        'tiny', num_classes=3, channels=16, norm_groups=4, num_prototypes=8, embedding_size=16,
        mask_channels=16, long_side=128, short_side=96, training_long_sides=(128, 128),
        training_short_sides=(96, 96), motion=True,
    ),
}
