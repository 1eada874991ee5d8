# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A network with other classes: its outputs for them kept, left out, put together and added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain

import torch
from torch import Tensor

from stmask_ros.families.class_teaching import TaughtClass
from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.families.stmask.distance_head import LEVELS
from stmask_ros.families.stmask.network import STMask

RIVALS = 'prediction_layers.0.rivals'


@dataclass(frozen=True)
class Outputs:
    """
    The outputs of a head after, class by class.

    sources: of each the output before that it keeps, or -1 for one that is learned.
    counts: how many outputs each class has.
    branches: the mask branch of each class: that of the first class before that it keeps, or one
    that is learned.
    """

    sources: tuple[int, ...]
    counts: tuple[int, ...]
    branches: tuple[int, ...]

    @classmethod
    def of(cls, config: STMaskConfig, classes: Sequence[TaughtClass]) -> Outputs:
        """Return the outputs of classes; config: before."""
        before = config.outputs_of_classes
        ends = list(accumulate(before))
        rows = [range(end - count, end) for count, end in zip(before, ends, strict=True)]
        sources = [
            [row for kept in each.kept for row in rows[kept]] + [-1] * each.learned
            for each in classes
        ]
        masks = config.branches_of_classes
        branches = (masks[each.kept[0]] if each.kept else max(masks) + 1 for each in classes)
        return cls(tuple(chain.from_iterable(sources)), tuple(map(len, sources)), tuple(branches))

    @property
    def learned(self) -> list[int]:
        """Which outputs are learned."""
        return [row for row, source in enumerate(self.sources) if source < 0]

    @property
    def classes(self) -> list[int]:
        """The class of each output, from 0."""
        return [number for number, count in enumerate(self.counts) for _ in range(count)]

    def has_masks_to_learn(self, config: STMaskConfig) -> bool:
        """Return whether a branch is learned; config: before."""
        return max(self.branches) > max(config.branches_of_classes)

    def after(self, config: STMaskConfig) -> STMaskConfig:
        """Return the configuration after."""
        return replace(
            config, num_classes=len(self.counts),
            class_outputs=self.counts if max(self.counts) > 1 else (),
            mask_branches=self.branches if max(self.branches) else (),
        )


def grown(network: STMask, outputs: Outputs) -> STMask:
    """
    Return a copy with these outputs and branches.

    Outputs that are learned are zeros yet, a branch that is learned is of no use yet.
    """
    before = sum(network.config.outputs_of_classes)
    after = STMask(outputs.after(network.config))
    tensors = after.state_dict() | network.state_dict()
    for level in range(LEVELS):
        for kind in ('weight', 'bias'):
            name = f'prediction_layers.0.levels.{level}.2.{kind}'
            tensors[name] = _rearranged(tensors[name], outputs, before)
    if RIVALS in network.state_dict():
        for _ in range(2):  # rows, then columns
            tensors[RIVALS] = _rearranged(tensors[RIVALS], outputs, before).t()
    after.load_state_dict({name: tensors[name] for name in after.state_dict()})
    return after.eval().requires_grad_(False)


def _rearranged(values: Tensor, outputs: Outputs, before: int) -> Tensor:
    # [before + distances, ...] -> [outputs + distances, ...]
    with_zeros = torch.cat((values[:before], torch.zeros_like(values[:1])))
    return torch.cat((with_zeros[list(outputs.sources)], values[before:]))
