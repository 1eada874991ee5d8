# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""How SipMask learns, see Training in stmask_ros/families/family.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stmask_ros.families.errors import TrainingError
from stmask_ros.families.family import Augmentation, ParameterGroup, Precision
from stmask_ros.families.frames import AnnotatedFrame
from stmask_ros.families.sipmask.config import SipMaskConfig
from stmask_ros.families.sipmask.initialisation import initialise_for_training
from stmask_ros.families.sipmask.training.examples import Example, example
from stmask_ros.families.sipmask.training.losses import LossConfig
from stmask_ros.families.sipmask.training.step import TrainingStep

_GROUP_NORM = '.gn.bias'


@dataclass(frozen=True)
class SipMaskTraining:
    """
    Learns from pairs of frames.

    loss_options, build_step: the options of the loss, and what makes the module of a step.
    """

    loss_options: type[Any] = LossConfig
    build_step: type[Any] = TrainingStep

    def clip_length(self, _options: LossConfig) -> int:
        """Return 2: a frame, and its reference frame."""
        return 2

    def check(
        self, _configuration: SipMaskConfig, precision: Precision, device: torch.device
    ) -> None:
        """Raise TrainingError for half precision of deformable convolutions on a CPU."""
        if precision != 'float32' and device.type == 'cpu':
            raise TrainingError(
                f'precision {precision} with deformable convolutions needs CUDA: '
                'use float32 on the CPU'
            )

    def initialise(self, network: Any, seed: int) -> None:
        """See initialise_for_training."""
        initialise_for_training(network, network.bbox_head, seed)

    def initial_tensors(
        self, _network: Any, tensors: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        """Return the tensors, as of the model of single images: what does not fit is left."""
        return tensors

    def example(
        self, configuration: SipMaskConfig, clip: Sequence[AnnotatedFrame],
        augmentation: Augmentation, rng: np.random.Generator,
    ) -> Example:
        """Return a frame and its reference frame."""
        return example(clip, configuration, augmentation, rng)

    def step(self, network: Any, options: Any, precision: Precision) -> nn.Module:
        """Return the network with its losses."""
        step: nn.Module = self.build_step(network, options, precision)
        return step

    def backbone(self, network: Any) -> nn.Module:
        """Return the backbone."""
        backbone: nn.Module = network.backbone
        return backbone

    def stages(self, network: Any) -> Sequence[nn.Module]:
        """Return the backbone's stages."""
        return list(network.backbone.stages)

    def parameter_groups(self, network: Any) -> Sequence[ParameterGroup]:
        """
        Return biases, which learn twice as fast and do not decay, and all others.

        The offsets of group norms are among the others, but for that of the feature alignment.
        """
        named = [
            (name, parameter) for name, parameter in network.named_parameters()
            if not name.startswith('backbone.')
        ]
        biases = [p for name, p in named if _is_bias(name)]
        others = [p for name, p in named if not _is_bias(name)]
        return [ParameterGroup(others), ParameterGroup(biases, rate=2.0, decay=0.0)]


def _is_bias(name: str) -> bool:
    return name.endswith('.bias') and not name.endswith(_GROUP_NORM)
