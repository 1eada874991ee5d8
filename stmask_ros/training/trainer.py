"""The run: iterations from the first or from a checkpoint to the last."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from stmask_ros.evaluation.annotations import Annotations
from stmask_ros.families.errors import TrainingError
from stmask_ros.families.stmask.network import STMask
from stmask_ros.families.stmask.preprocess import preprocess
from stmask_ros.families.stmask.tracks import TrackerConfig
from stmask_ros.families.stmask.training.initialisation import initialise_for_training
from stmask_ros.families.stmask.training.losses import Losses
from stmask_ros.families.stmask.training.step import TrainingStep, freeze_stages
from stmask_ros.fingerprint import differences
from stmask_ros.models.checkpoint import Model, ModelDescription, tensors_sha256
from stmask_ros.tracking.segmenter import VideoSegmenter
from stmask_ros.training.checkpoints import (
    initialise_from,
    load_checkpoint,
    save_checkpoint,
    save_model,
)
from stmask_ros.training.config import TrainingConfig
from stmask_ros.training.fingerprint import training_fingerprint
from stmask_ros.training.loader import Example, PairDataset, PairSampler, build_loader
from stmask_ros.training.pairs import PairSource
from stmask_ros.training.progress import Progress
from stmask_ros.training.schedule import rate_factor
from stmask_ros.training.sources import build_sources, chosen_annotations
from stmask_ros.training.validation import validate
from stmask_ros.training.workers import Team

_LOGGER = logging.getLogger(__name__)

_CHECKPOINT = 'last.pt'


class Trainer:
    """
    A network in training. Goes on from the checkpoint in the configuration's folder.

    Nothing random outlives an iteration: what is drawn depends on the seed, the iteration and
    the worker, so that a run that was stopped and goes on is the run that was not.
    """

    def __init__(
        self, config: TrainingConfig, team: Team, sources: Sequence[PairSource] | None = None,
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
        self._step.to(team.device).to(memory_format=torch.channels_last).train()
        self._optimiser = _build_optimiser(config, self.network)
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
    def network(self) -> STMask:
        """The network, in training."""
        return self._step.network

    @property
    def result(self) -> STMask:
        """The network that is saved and scored: the running mean of that in training, if any."""
        if self._average is None:
            return self.network
        averaged = self._average.module
        assert isinstance(averaged, STMask)
        return averaged

    def run(self, iterations: int | None = None) -> None:
        """Train up to an iteration, the configuration's last without one."""
        config, worker = self.config, self.team.worker
        last = config.iterations if iterations is None else iterations
        dataset = PairDataset(
            self._sources, self.network.config, config.flip, config.seed, config.color_jitter,
        )
        sampler = PairSampler(
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

    def _iterate(self, batch: Sequence[Example]) -> Losses:
        config, device = self.config, self.team.device
        torch.manual_seed(hash((config.seed, self.iteration, self.team.worker.rank)))
        factor = rate_factor(self.iteration, config.steps, config.warm_up)
        rates = (config.learning_rate, config.learning_rate * config.backbone_rate)
        for group, rate in zip(self._optimiser.param_groups, rates, strict=True):
            group['lr'] = rate * factor
        images = preprocess([example.image for example in batch], self.network.config, device)
        targets = [example.targets.to(device) for example in batch]
        losses: Losses = self._parallel(images, targets)
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
            'network': self.network.state_dict(),
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
            self.network.load_state_dict(content['network'])
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
            config.options,
        )
        self.team.share_buffers(self.result)
        digest = tensors_sha256(self.result.state_dict())
        return VideoSegmenter(
            Model(description, self.result, digest), self.team.device, TrackerConfig()
        )


def _check(config: TrainingConfig, team: Team) -> None:
    if config.batch_size % team.worker.count:
        raise TrainingError(
            f'batch_size: expected a multiple of the {team.worker.count} workers, '
            f'got {config.batch_size}'
        )
    network = config.network_config()
    calibrations = {
        network.class_calibration, network.mask_calibration, network.track_calibration
    }
    deforms = network.deformable_interval > 0 or calibrations != {'none'}
    if config.precision != 'float32' and team.device.type == 'cpu' and deforms:
        raise TrainingError(
            f'precision {config.precision} with deformable convolutions needs CUDA: '
            'use float32 on the CPU'
        )


def _build_step(config: TrainingConfig) -> TrainingStep:
    network = STMask(config.network_config())
    initialise_for_training(network, config.seed)
    if config.initial_weights is not None:
        initialise_from(network, config.initial_weights)
    loss = replace(
        config.loss, variances=network.config.variances,
        mask_activation=network.config.mask_activation,
    )
    freeze_stages(network.backbone, config.frozen_stages)
    return TrainingStep(network, loss, config.freeze_batch_norm, config.precision)


def _build_average(config: TrainingConfig, network: STMask) -> AveragedModel | None:
    if config.averaged_iterations == 0:
        return None
    update = get_ema_multi_avg_fn(1 - 1 / config.averaged_iterations)
    return AveragedModel(network, multi_avg_fn=update, use_buffers=True)


def _build_optimiser(config: TrainingConfig, network: STMask) -> torch.optim.Optimizer:
    """Return the optimiser, with two groups of parameters: all others, and the backbone's."""
    backbone = set(network.backbone.parameters())
    trained = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {'params': [p for p in trained if p not in backbone]},
        {'params': [p for p in trained if p in backbone]},
    ]
    if config.optimiser == 'adamw':
        return torch.optim.AdamW(
            groups, config.learning_rate, weight_decay=config.weight_decay
        )
    return torch.optim.SGD(
        groups, config.learning_rate, config.momentum, weight_decay=config.weight_decay
    )
