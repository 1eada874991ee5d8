# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Parts of a network that keep the weights they start with."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from stmask_ros.families.errors import TrainingError


def freeze_stages(backbone: nn.Module, stages: Sequence[nn.Module], count: int) -> None:
    """
    Keep the weights of a backbone's stem and of its first stages as they are; of 0, none.

    Raises TrainingError for more stages than there are.
    """
    if not 0 <= count <= len(stages):
        raise TrainingError(f'frozen_stages: expected 0 to {len(stages)}, got {count}')
    if count == 0:
        return
    trained = {parameter for stage in stages[count:] for parameter in stage.parameters()}
    for parameter in backbone.parameters():
        if parameter not in trained:
            parameter.requires_grad_(False)


def set_to_training(network: nn.Module, freeze_batch_norm: bool) -> None:
    """
    Set a network to training, but for batch norms whose factors do not learn.

    Those keep their statistics as well. freeze_batch_norm: that is all of them.
    """
    network.train()
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            if freeze_batch_norm:
                norm.requires_grad_(False)
            norm.train(norm.weight.requires_grad)
