"""One pass of training: from clips to losses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import distributed, nn

from stmask_ros.families.family import Precision
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

    def forward(self, examples: Sequence[Example]) -> Losses:
        """Return the losses of clips of one length."""
        device = self.network.level_embed.device
        batch = Batch.of(examples, device)
        with torch.autocast(
            device.type, torch.float16 if self.precision == 'float16' else torch.bfloat16,
            enabled=self.precision != 'float32',
        ):
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
