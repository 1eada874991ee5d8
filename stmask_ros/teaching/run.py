# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The run: iterations until the held-out frames are found no better, from wherever it stopped."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

from stmask_ros.families.class_teaching import Learner
from stmask_ros.families.errors import TrainingError
from stmask_ros.fingerprint import Fingerprint, differences
from stmask_ros.teaching.lessons import Lessons
from stmask_ros.training.checkpoints import load_checkpoint, save_checkpoint

_LOGGER = logging.getLogger(__name__)

CHECKPOINT = 'last.pt'
CLIP_GRADIENT = 10.0


@dataclass(frozen=True)
class RunOptions:
    """
    How long it is learned, and how fast.

    iterations: most, each of batch_size lessons. judge_every: iterations between two looks at the
    held-out frames. patience: looks without a better one that end the run. learning_rate: at the
    start; it falls as a cosine does to the last iteration. lessons: about so many are made of all
    frames. seed: of all that is drawn.
    """

    iterations: int = 500
    batch_size: int = 8
    judge_every: int = 50
    patience: int = 6
    learning_rate: float = 0.002
    lessons: int = 240
    seed: int = 1

    def __post_init__(self) -> None:
        """Raise TrainingError for a value out of range."""
        for name in ('iterations', 'batch_size', 'judge_every', 'patience', 'lessons'):
            if getattr(self, name) < 1:
                raise TrainingError(f'{name}: expected 1 or more, got {getattr(self, name)}')


@dataclass
class _Best:
    ap: float = -1.0
    iteration: int = 0
    learned: dict[str, Any] = field(default_factory=dict)


class TeachingRun:
    """A learner in its run. Nothing random outlives an iteration, so that it goes on exactly."""

    def __init__(
        self, folder: Path, learner: Learner, options: RunOptions, fingerprint: Fingerprint
    ) -> None:
        """Go on from the folder's checkpoint, if any; TrainingError if it is another run's."""
        self._path = folder / CHECKPOINT
        self._learner = learner
        self._options = options
        self._fingerprint = fingerprint
        self._optimiser = torch.optim.AdamW(
            learner.parameters(), options.learning_rate, weight_decay=0.01)
        self._best = _Best()
        self.iteration = 0
        if self._path.exists():
            self._resume()

    @property
    def best_iteration(self) -> int:
        """After how many iterations the held-out frames were found best."""
        return self._best.iteration

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to learn."""
        waited = self.iteration - self._best.iteration
        tired = waited >= self._options.patience * self._options.judge_every
        return self.iteration >= self._options.iterations or tired

    def learn(self, lessons: Lessons, judge: Callable[[], float]) -> None:
        """
        Learn to the end, and leave the learner as it was best.

        judge: returns the AP of what the learner has learned so far, from held-out frames.
        """
        first, start = self.iteration, time.monotonic()
        while not self.is_over:
            terms = self._iterate(lessons.batch(self.iteration))
            self.iteration += 1
            if self.iteration % self._options.judge_every == 0 or self._is_last:
                self._judge(judge())
                each = (time.monotonic() - start) / (self.iteration - first)
                self._tell(terms, each)
        self._learner.load_state_dict(self._best.learned)

    @property
    def _is_last(self) -> bool:
        return self.iteration == self._options.iterations

    def _iterate(self, batch: Sequence[Any]) -> Mapping[str, torch.Tensor]:
        options = self._options
        torch.manual_seed(hash((options.seed, self.iteration)) & 0xFFFFFFFF)
        angle = torch.tensor(torch.pi * self.iteration / options.iterations)
        for group in self._optimiser.param_groups:
            group['lr'] = options.learning_rate * float(0.5 + 0.5 * angle.cos())
        terms = self._learner.losses(batch)
        self._optimiser.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()
        norm = torch.nn.utils.clip_grad_norm_(self._learner.parameters(), CLIP_GRADIENT)
        if torch.isfinite(norm):
            self._optimiser.step()
        else:
            _LOGGER.warning('iteration %d left out: its gradient is not finite', self.iteration)
        return terms

    def _judge(self, ap: float) -> None:
        if ap > self._best.ap:
            self._best = _Best(ap, self.iteration, copy.deepcopy(self._learner.state_dict()))
        save_checkpoint(self._path, {
            'iteration': self.iteration, 'fingerprint': self._fingerprint,
            'learner': self._learner.state_dict(), 'optimiser': self._optimiser.state_dict(),
            'best': vars(self._best),
        })

    def _tell(self, terms: Mapping[str, torch.Tensor], seconds: float) -> None:
        options = self._options
        left = timedelta(seconds=round(seconds * (options.iterations - self.iteration)))
        _LOGGER.info(
            '%d/%d  %s  best AP on held-out frames %.3f (at %d)  %.3f s each  left at most %s',
            self.iteration, options.iterations,
            ' '.join(f'{name} {value.item():.3f}' for name, value in terms.items()),
            self._best.ap, self._best.iteration, seconds, left,
        )

    def _resume(self) -> None:
        content = load_checkpoint(self._path, torch.device('cpu'))
        if changes := differences(content.get('fingerprint'), self._fingerprint):
            raise TrainingError(
                f'{self._path} is of a run with {changes}: go on with that, choose another --out, '
                'or begin again with --overwrite'
            )
        try:
            self._learner.load_state_dict(content['learner'])
            self._optimiser.load_state_dict(content['optimiser'])
            self._best = _Best(**content['best'])
            self.iteration = content['iteration']
        except (KeyError, TypeError, RuntimeError, ValueError) as error:
            raise TrainingError(
                f'{self._path} does not fit ({error}): begin again with --overwrite') from error
        _LOGGER.info('going on from iteration %d of %s', self.iteration, self._path)
