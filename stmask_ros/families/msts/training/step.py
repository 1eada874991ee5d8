# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""One pass of training: from clips to losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import distributed, nn

from stmask_ros.families.family import Precision
from stmask_ros.families.mixed_precision import autocast
from stmask_ros.families.msts.network import MSTS
from stmask_ros.families.msts.training.adversary import Adversary
from stmask_ros.families.msts.training.examples import Batch, Example
from stmask_ros.families.msts.training.losses import ClipPass, LossConfig, Losses


class TrainingStep(nn.Module):
    """
    The network with its losses, as one module: what DDP wraps.

    Every parameter takes part in every pass, so that no worker waits for another's gradient.
    """

    def __init__(self, network: MSTS, loss: LossConfig, precision: Precision) -> None:
        """Take a network; with a discriminator, make one beside it."""
        super().__init__()
        self.network = network
        self.loss = loss
        self.precision = precision
        self._adversary = Adversary(network.config.channels, loss) if loss.discriminator else None

    def get_extra_state(self) -> dict[str, Any]:
        """Return what a run that goes on needs beside the network: the discriminator."""
        return {} if self._adversary is None else self._adversary.state()

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a get_extra_state()."""
        if self._adversary is not None:
            self._adversary.resume(state, self.network.level_embed.device)

    def forward(self, examples: Sequence[Example]) -> Losses:
        """Return the losses of clips of one length."""
        device = self.network.level_embed.device
        batch = Batch.of(examples, device)
        with autocast(device, self.precision):
            clips = ClipPass.of(
                self.network, batch.images, batch.valid, batch.targets, self.loss.matching
            )
        count = objects_of_all_workers(sum(map(len, batch.targets)), device)
        layers = clips.losses(batch.targets, self.loss, count)
        adversarial = None
        if self._adversary is not None:
            adversarial = self._adversary(batch, clips)
        return Losses(layers, self.loss.weights, adversarial)


def objects_of_all_workers(count: int, device: torch.device) -> float:
    """Return the mean number of objects of the workers' batches, at least 1."""
    if not distributed.is_initialized():
        return max(1.0, float(count))
    total = torch.tensor(float(count), device=device)
    distributed.all_reduce(total)
    return max(1.0, float(total) / distributed.get_world_size())
