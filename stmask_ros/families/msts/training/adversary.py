"""The discriminator at work beside the network: it learns itself, and tells what to learn."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, distributed

from stmask_ros.families.msts.training.discriminator import (
    BETAS,
    LEARNING_RATE,
    Discriminator,
    adversarial_loss,
    discriminator_loss,
    predicted_foreground,
    true_foreground,
)
from stmask_ros.families.msts.training.examples import Batch
from stmask_ros.families.msts.training.losses import ClipPass, LossConfig


class Adversary:
    """
    A discriminator and its optimiser.

    No part of the step's parameters: the network's optimiser and what is saved leave it alone.
    """

    def __init__(self, channels: int, config: LossConfig) -> None:
        """channels: of the memory."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # alike on all workers
            self.discriminator = Discriminator(channels)
        self._weight = config.discriminator
        self._warm_up = config.discriminator_warm_up
        self._passes = 0
        self._optimiser: torch.optim.Optimizer | None = None

    def __call__(self, batch: Batch, clips: ClipPass) -> Tensor:
        """Return the network's loss, then let the discriminator learn from the same clips."""
        optimiser = self._ready(batch.images.device)
        given = [clip for clip, target in enumerate(batch.targets) if len(target)]
        loss = clips.memory.sum() * 0
        own = loss.new_zeros(())
        for clip in given:
            images, levels = batch.images[clip], memory_levels(clips, clip)
            size = levels[0].shape[-2:]
            true = true_foreground(batch.targets[clip].masks, size)
            predicted = predicted_foreground(clips.predictions[-1].masks[clip].float(), size)
            frames = true.flatten(1).any(1)  # those without objects teach nothing
            images, true, predicted = images[frames], true[frames], predicted[frames]
            levels = [level[frames] for level in levels]
            loss = loss + adversarial_loss(self.discriminator, images, levels, predicted)
            own = own + discriminator_loss(self.discriminator, images, levels, true, predicted)
        if torch.is_grad_enabled():
            self._learn(own, optimiser)
        weight = self._weight * min(1.0, self._passes / self._warm_up)
        return loss * (weight / max(len(given), 1))

    def _ready(self, device: torch.device) -> torch.optim.Optimizer:
        if self._optimiser is None:
            self.discriminator.to(device)
            self._optimiser = torch.optim.AdamW(
                self.discriminator.parameters(), lr=LEARNING_RATE, betas=BETAS
            )
        return self._optimiser

    def _learn(self, loss: Tensor, optimiser: torch.optim.Optimizer) -> None:
        self._passes += 1
        optimiser.zero_grad(set_to_none=False)
        if loss.requires_grad:
            loss.backward()
        for parameter in self.discriminator.parameters():
            if distributed.is_initialized() and parameter.grad is not None:
                distributed.all_reduce(parameter.grad)
                parameter.grad /= distributed.get_world_size()
        optimiser.step()


def memory_levels(clips: ClipPass, clip: int) -> Sequence[Tensor]:
    """Return a clip's memory of strides 8, 16 and 32, each [T, C, h, w]."""
    levels = clips.grid.levels(clips.memory[clip].float())[:3]
    return [level.permute(0, 3, 1, 2) for level in levels]
