# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The discriminator at work beside the network: it learns itself, and tells what to learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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

    No part of the step's parameters: the network's optimiser and DDP leave it alone.
    """

    def __init__(self, channels: int, config: LossConfig) -> None:
        """channels: of the memory."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # alike on all workers
            self.discriminator = Discriminator(channels)
        self._optimiser = torch.optim.AdamW(
            self.discriminator.parameters(), lr=LEARNING_RATE, betas=BETAS
        )
        self._weight = config.discriminator
        self._warm_up = config.discriminator_warm_up
        self._passes = 0

    def state(self) -> dict[str, Any]:
        """Return what a run needs to go on with this discriminator."""
        return {
            'discriminator': self.discriminator.state_dict(),
            'optimiser': self._optimiser.state_dict(), 'passes': self._passes,
        }

    def resume(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Go on from a state()."""
        self.discriminator.to(device).load_state_dict(state['discriminator'])
        self._optimiser.load_state_dict(state['optimiser'])
        self._passes = state['passes']

    def __call__(self, batch: Batch, clips: ClipPass) -> Tensor:
        """Return the network's loss, then let the discriminator learn from the same clips."""
        self.discriminator.to(batch.images.device)
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
            self._learn(own)
        weight = self._weight * min(1.0, self._passes / self._warm_up)
        return loss * (weight / max(len(given), 1))

    def _learn(self, loss: Tensor) -> None:
        self._passes += 1
        self._optimiser.zero_grad(set_to_none=False)
        if loss.requires_grad:
            loss.backward()
        for parameter in self.discriminator.parameters():
            if distributed.is_initialized() and parameter.grad is not None:
                distributed.all_reduce(parameter.grad)
                parameter.grad /= distributed.get_world_size()
        self._optimiser.step()


def memory_levels(clips: ClipPass, clip: int) -> Sequence[Tensor]:
    """Return a clip's memory of strides 8, 16 and 32, each [T, C, h, w]."""
    levels = clips.grid.levels(clips.memory[clip].float())[:3]
    return [level.permute(0, 3, 1, 2) for level in levels]
