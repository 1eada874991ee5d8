# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The run: iterations from the first or from a checkpoint to the last."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from stmask_ros.evaluation.annotations import Annotations
from stmask_ros.families.all import family_named
from stmask_ros.families.errors import TrainingError
from stmask_ros.families.family import Augmentation, Losses, ParameterGroup
from stmask_ros.fingerprint import differences
from stmask_ros.models.checkpoint import Model, ModelDescription, tensors_sha256
from stmask_ros.tracking.segmenter import VideoSegmenter
from stmask_ros.training.checkpoints import (
    initialise_from,
    load_checkpoint,
    save_checkpoint,
    save_model,
)
from stmask_ros.training.clips import Clip, ClipSource
from stmask_ros.training.config import TrainingConfig
from stmask_ros.training.fingerprint import training_fingerprint
from stmask_ros.training.freezing import freeze_stages, set_to_training
from stmask_ros.training.loader import ClipDataset, ClipSampler, build_loader
from stmask_ros.training.progress import Progress
from stmask_ros.training.schedule import rate_factor
from stmask_ros.training.sources import build_sources, chosen_annotations
from stmask_ros.training.validation import validate
from stmask_ros.training.workers import Team

_LOGGER = logging.getLogger(__name__)

_CHECKPOINT = 'last.pt'


@dataclass(frozen=True)
class _ExampleOf:
    # What a family makes of a clip; workers find the family by its name.
    family: str
    configuration: Any
    augmentation: Augmentation

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Any:
        training = family_named(self.family).training
        return training.example(self.configuration, clip, self.augmentation, rng)


class Trainer:
    """
    A network in training. Goes on from the checkpoint in the configuration's folder.

    Nothing random outlives an iteration: what is drawn depends on the seed, the iteration and
    the worker, so that a run that was stopped and goes on is the run that was not.
    """

    def __init__(
        self, config: TrainingConfig, team: Team, sources: Sequence[ClipSource] | None = None,
        overwrite: bool = False,
    ) -> None:
        """
        Prepare; sources: instead of those that the configuration names.

        overwrite: begin again, whatever run the folder holds. Raises TrainingError if it is
        another and stays; and TrainingError, DatasetError, ModelError or OSError if a part is
        missing or wrong.
        """
        _check(config, team)
        self.config = config
        self.team = team
        self.iteration = 0
        self._step = _build_step(config)
        # Convolutions learn fastest in this layout, on the CPU and on GPUs.
        self._step.to(team.device).to(memory_format=torch.channels_last)
        set_to_training(self._step, config.freeze_batch_norm)
        self._groups = _parameter_groups(config, self.network)
        self._optimiser = _build_optimiser(config, self._groups)
        self._average = _build_average(config, self.network)
        self._scaler = torch.amp.GradScaler(
            team.device.type, enabled=config.precision == 'float16'
        )
        config.out.mkdir(parents=True, exist_ok=True)
        if overwrite and team.is_first:
            (config.out / _CHECKPOINT).unlink(missing_ok=True)
        team.wait_for_all()
        self._sources = build_sources(config) if sources is None else sources
        self._fingerprint = training_fingerprint(config)
        if (config.out / _CHECKPOINT).exists():
            self._resume()
        self._parallel: nn.Module = self._step
        if not team.is_alone:
            self._parallel = DistributedDataParallel(self._step)
        self._validation: Annotations | None = None
        if config.validation is not None:
            self._validation = chosen_annotations(config.validation)

    @property
    def network(self) -> nn.Module:
        """The network, in training."""
        network = self._step.network
        assert isinstance(network, nn.Module)
        return network

    @property
    def result(self) -> nn.Module:
        """The network that is saved and scored: the running mean of that in training, if any."""
        if self._average is None:
            return self.network
        return self._average.module

    def run(self, iterations: int | None = None) -> None:
        """Train up to an iteration, the configuration's last without one."""
        config, worker = self.config, self.team.worker
        last = config.iterations if iterations is None else iterations
        example = _ExampleOf(config.family, config.network_config(), config.augmentation())
        dataset = ClipDataset(self._sources, example, config.seed)
        sampler = ClipSampler(
            len(dataset), config.batch_size, config.seed, range(self.iteration, last),
            worker.rank, worker.count,
        )
        progress = None
        if self.team.is_first:
            progress = Progress(config.out, self.iteration, config.iterations, config.log_every)
        for batch in build_loader(dataset, sampler, config.workers):
            losses = self._iterate(batch)
            if progress is not None:
                terms = {name: value.item() for name, value in losses.terms().items()}
                terms['total'] = sum(terms.values())
                progress.add(self.iteration, terms, self._optimiser.param_groups[0]['lr'])
            self.iteration += 1
            self._at_intervals(progress)
        if progress is not None:
            self._save()
            progress.close()

    def _iterate(self, batch: Sequence[Any]) -> Losses:
        config = self.config
        torch.manual_seed(hash((config.seed, self.iteration, self.team.worker.rank)))
        factor = rate_factor(self.iteration, config.steps, config.warm_up)
        for options, group in zip(self._optimiser.param_groups, self._groups, strict=True):
            options['lr'] = config.learning_rate * group.rate * factor
        losses: Losses = self._parallel(batch)
        self._optimiser.zero_grad(set_to_none=True)
        self._scaler.scale(losses.total).backward()
        self._update()
        return losses

    def _update(self) -> None:
        self._scaler.unscale_(self._optimiser)
        norm = nn.utils.clip_grad_norm_(
            self._trained(), self.config.clip_gradient or float('inf')
        )
        # The same for all workers: the gradients were averaged, and one that is not finite stays.
        if torch.isfinite(norm) or self._scaler.is_enabled():
            self._scaler.step(self._optimiser)  # leaves out such steps itself if it is enabled
        else:
            _LOGGER.warning('iteration %d left out: its gradient is not finite', self.iteration)
        self._scaler.update()
        if self._average is not None:
            self._average.update_parameters(self.network)

    def _trained(self) -> list[Tensor]:
        return [p for group in self._optimiser.param_groups for p in group['params']]

    def _at_intervals(self, progress: Progress | None) -> None:
        config = self.config
        if config.checkpoint_every and self.iteration % config.checkpoint_every == 0:
            self._save()
        if config.validate_every and self.iteration % config.validate_every == 0:
            self._validate(progress)

    def _save(self) -> None:
        if not self.team.is_first:
            return
        save_checkpoint(self.config.out / _CHECKPOINT, {
            'iteration': self.iteration,
            'fingerprint': self._fingerprint,
            'step': self._step.state_dict(),
            'average': None if self._average is None else self._average.state_dict(),
            'optimiser': self._optimiser.state_dict(),
            'scaler': self._scaler.state_dict(),
        })
        save_model(self.config.out, self.config, self.result, self.iteration)

    def _resume(self) -> None:
        path = self.config.out / _CHECKPOINT
        content: dict[str, Any] = load_checkpoint(path, self.team.device)
        if changes := differences(content.get('fingerprint'), self._fingerprint):
            raise TrainingError(
                f'{path} is of a run with {changes}: go on with that, choose another out, or '
                'begin again with --overwrite'
            )
        try:
            self._step.load_state_dict(content['step'])
            if self._average is not None:
                self._resume_average(content.get('average'))
            self._optimiser.load_state_dict(content['optimiser'])
            self._scaler.load_state_dict(content['scaler'])
            self.iteration = content['iteration']
        except (KeyError, RuntimeError, ValueError) as error:
            raise TrainingError(
                f'{path} is of a run with another network: choose another out ({error})'
            ) from error
        _LOGGER.info('going on from iteration %d of %s', self.iteration, path)

    def _resume_average(self, state: Mapping[str, Any] | None) -> None:
        assert self._average is not None
        if state is None:  # the run began without one
            self._average = _build_average(self.config, self.network)
        else:
            self._average.load_state_dict(state)

    def _validate(self, progress: Progress | None) -> None:
        if self._validation is None or self.config.validation is None:
            return
        folder = self.config.out / 'validation' / f'{self.iteration:06}'
        summary = validate(
            self.segmenter(), self._validation, self.config.validation.images, folder,
            self.team.worker, self.team.wait_for_all,
        )
        if progress is not None:
            _LOGGER.info('%d: AP %.3f, AP50 %.3f', self.iteration, summary.ap, summary.ap50)
            progress.scalars(
                self.iteration, {'validation/AP': summary.ap, 'validation/AP50': summary.ap50}
            )

    def segmenter(self) -> VideoSegmenter:
        """Return a segmenter with a copy of the resulting network as it is now."""
        config = self.config
        description = ModelDescription(
            config.name, config.configuration, config.classes, config.out / config.name,
            config.options, family=config.family,
        )
        self.team.share_buffers(self.result)
        digest = tensors_sha256(self.result.state_dict())
        model = Model(description, self.result, digest)
        return VideoSegmenter(model, self.team.device, model.tracker())


def _check(config: TrainingConfig, team: Team) -> None:
    if config.batch_size % team.worker.count:
        raise TrainingError(
            f'batch_size: expected a multiple of the {team.worker.count} workers, '
            f'got {config.batch_size}'
        )
    training = config.family_of_networks().training
    training.check(config.network_config(), config.precision, team.device)


def _build_step(config: TrainingConfig) -> nn.Module:
    family = config.family_of_networks()
    network = family.build(config.network_config())
    family.training.initialise(network, config.seed)
    if config.initial_weights is not None:
        initialise_from(family, network, config.initial_weights, config.fresh)
    backbone = family.training.backbone(network)
    freeze_stages(backbone, family.training.stages(network), config.frozen_stages)
    step: nn.Module = family.training.step(network, config.loss_options(), config.precision)
    return step


def _build_average(config: TrainingConfig, network: nn.Module) -> AveragedModel | None:
    if config.averaged_iterations == 0:
        return None
    update = get_ema_multi_avg_fn(1 - 1 / config.averaged_iterations)
    return AveragedModel(network, multi_avg_fn=update, use_buffers=True)


def _build_optimiser(
    config: TrainingConfig, groups: Sequence[ParameterGroup]
) -> torch.optim.Optimizer:
    options = [
        {'params': list(group.parameters), 'weight_decay': config.weight_decay * group.decay}
        for group in groups
    ]
    if config.optimiser == 'adamw':
        return torch.optim.AdamW(options, config.learning_rate)
    return torch.optim.SGD(options, config.learning_rate, config.momentum)


def _parameter_groups(config: TrainingConfig, network: nn.Module) -> list[ParameterGroup]:
    """Return the parameters that learn: the family's groups, and the backbone's after them."""
    training = config.family_of_networks().training
    backbone = list(training.backbone(network).parameters())
    groups = [*training.parameter_groups(network), ParameterGroup(backbone, config.backbone_rate)]
    return [
        replace(group, parameters=[p for p in group.parameters if p.requires_grad])
        for group in groups
    ]
