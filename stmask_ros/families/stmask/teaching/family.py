# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""How STMask is taught new classes, see stmask_ros/families/class_teaching.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from stmask_ros.families.class_teaching import TaughtClass
from stmask_ros.families.errors import TrainingError
from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.families.stmask.network import STMask
from stmask_ros.families.stmask.teaching.growth import Outputs
from stmask_ros.families.stmask.teaching.learner import HeadLearner
from stmask_ros.families.stmask.teaching.lessons import LessonMaker


class STMaskTeaching:
    """Teaches heads of distances, whose classes are outputs that know nothing of each other."""

    def check(self, configuration: STMaskConfig) -> None:
        """Raise TrainingError for a head of another kind: its softmax joins all classes."""
        if configuration.detection != 'distances':
            raise TrainingError(
                'models with a detection head of distances can be taught, that is stmask_lite and '
                'what was taught from it; this one has another head: train it with `stmask train`'
            )

    def options(
        self, configuration: STMaskConfig, classes: Sequence[TaughtClass]
    ) -> dict[str, Any]:
        """Return class_outputs and mask_branches."""
        after = Outputs.of(configuration, classes).after(configuration)
        return {
            'class_outputs': list(after.class_outputs),
            'mask_branches': list(after.mask_branches),
        }

    def teacher(self, network: STMask, device: torch.device) -> LessonMaker:
        """Return what makes lessons of frames."""
        return LessonMaker(network, device)

    def learner(
        self, network: STMask, classes: Sequence[TaughtClass], device: torch.device, seed: int
    ) -> HeadLearner:
        """Return what learns."""
        return HeadLearner(network, classes, device, seed)
