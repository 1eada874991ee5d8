# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""From a model and a folder of labelled frames to another model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress
from torch import nn

from stmask_ros.families.class_teaching import ClassTeaching, Learner, TeachesClasses
from stmask_ros.families.errors import TrainingError
from stmask_ros.families.family import TrackerSettings
from stmask_ros.families.frames import AnnotatedFrame
from stmask_ros.fingerprint import Fingerprint, versions
from stmask_ros.models.checkpoint import (
    Model,
    ModelDescription,
    model_fingerprint,
    tensors_sha256,
)
from stmask_ros.teaching.class_plan import ClassChanges, ClassPlan, plan_classes
from stmask_ros.teaching.held_out import Split, held_out
from stmask_ros.teaching.lessons import Lessons, make_lessons, variations_of_a_frame
from stmask_ros.teaching.material import Material
from stmask_ros.teaching.run import RunOptions, TeachingRun
from stmask_ros.teaching.scoring import FrameScores, score_frames
from stmask_ros.tracking.segmenter import VideoSegmenter

_LOGGER = logging.getLogger(__name__)
# Detections that count in an AP, as `stmask eval images` has them.
_DETECTIONS = TrackerSettings(score_threshold=0.05, birth_threshold=0.0, nms_threshold=0.5)


@dataclass(frozen=True)
class Taught:
    """
    What comes out.

    model: after; its weights are in no file yet. scores_before, scores: of the model before and
    of this one, on the held-out frames. iterations: that its learner had learned.
    """

    model: Model
    before: Model
    plan: ClassPlan
    split: Split
    scores_before: FrameScores
    scores: FrameScores
    iterations: int


class Teacher:
    """Prepares all that a run needs, and runs it."""

    def __init__(
        self, model: Model, material: Material, changes: ClassChanges, options: RunOptions,
        device: torch.device,
    ) -> None:
        """
        Check model and material, and divide the frames.

        Raises TrainingError for a model that cannot be taught and for classes that do not fit,
        DatasetError for too few frames.
        """
        self._teaching = teaching_of(model)
        self._device = device
        self._options = options
        self.model = model
        self.material = material
        self.plan = plan_classes(model.description.classes, material.class_names, changes)
        self.split = held_out(material, self._learned_categories())
        names = [each.name for each in self.plan.classes]
        self.class_names = names

    def _learned_categories(self) -> list[str]:
        learned = {n for n, each in enumerate(self.plan.classes, 1) if each.learned}
        return [name for name, label in self.plan.labels.items() if label in learned]

    def fingerprint(self) -> Fingerprint:
        """Return what decides the result."""
        return {
            'model': model_fingerprint(self.model.description, self.model.digest),
            'data': self.material.fingerprint(),
            'classes': {each.name: asdict(each) for each in self.plan.classes},
            'options': asdict(self._options), 'versions': versions(),
        }

    def teach(self, folder: Path, name: str, show_progress: bool = True) -> Taught:
        """
        Learn, and return the model with what it was worth when it was best.

        folder: of the run, see TeachingRun. name: of the model.
        """
        classes = self.plan.classes
        learner = self._teaching.learner(
            self.model.network, classes, self._device, self._options.seed)
        run = TeachingRun(folder, learner, self._options, self.fingerprint())
        judged = self._frames(self.split.held_out)
        if not run.is_over:
            lessons = self._lessons(show_progress)
            run.learn(lessons, lambda: self._score(
                self._after(learner, name), judged).mean_of(self.plan.learned))
        else:
            run.learn(Lessons((), 1, 0), lambda: 0.0)
        after = self._after(learner, name)
        return Taught(
            after, self.model, self.plan, self.split, self._score(self.model, judged),
            self._score(after, judged), run.best_iteration,
        )

    def _frames(self, numbers: Sequence[int]) -> list[AnnotatedFrame]:
        frames = self.material.frames
        return [self.material.read(frames[number], self.plan.labels) for number in numbers]

    def _lessons(self, show_progress: bool) -> Lessons:
        frames = self._frames(self.split.learned)
        count = variations_of_a_frame(len(frames), self._options.lessons)
        _LOGGER.info('%d lessons, of %d frames in %d variations', count * len(frames),
                     len(frames), count)
        make = self._teaching.teacher(self.model.network, self._device)
        with Progress(transient=True, disable=not show_progress) as progress:
            task = progress.add_task('features', total=count * len(frames))
            lessons = make_lessons(
                frames, count, self._options.seed, make, lambda: progress.advance(task))
        return Lessons(lessons, self._options.batch_size, self._options.seed)

    def _after(self, learner: Learner, name: str) -> Model:
        before = self.model.description
        network: nn.Module = learner.finish()
        options = dict(before.options) | self._teaching.options(
            self.model.network.config, self.plan.classes)
        description = ModelDescription(
            name, before.configuration, tuple(self.class_names), Path(f'{name}.safetensors'),
            options, family=before.family, tracker=before.tracker,
            source=f'stmask teach, from {before.name}',
        )
        return Model(description, network, tensors_sha256(network.state_dict()))

    def _score(self, model: Model, frames: Sequence[AnnotatedFrame]) -> FrameScores:
        segmenter = VideoSegmenter(model, self._device, model.tracker(_DETECTIONS))
        return score_frames(segmenter, frames, self.class_names)


def teaching_of(model: Model) -> ClassTeaching[Any, Any]:
    """Return how a model's family is taught; TrainingError if this model cannot be."""
    family = model.family
    name = model.description.name
    if not isinstance(family, TeachesClasses):
        raise TrainingError(
            f'{name}: models of the family {model.description.family} cannot be taught; '
            'stmask_lite can, and what was taught from it'
        )
    if model.freshly_initialised:
        raise TrainingError(f'{name}: its weights were never trained: nothing stands on them')
    try:
        family.teaching.check(model.description.config())
    except TrainingError as error:
        raise TrainingError(f'{name}: {error}') from error
    return family.teaching
