# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""How MS-STS learns, see Training in stmask_ros/families/family.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from stmask_ros.families.errors import TrainingError
from stmask_ros.families.family import Augmentation, ParameterGroup, Precision
from stmask_ros.families.frames import AnnotatedFrame
from stmask_ros.families.msts.config import MSTSConfig
from stmask_ros.families.msts.initialisation import initialise
from stmask_ros.families.msts.layout import own_tensors
from stmask_ros.families.msts.network import MSTS
from stmask_ros.families.msts.training.examples import Example, example
from stmask_ros.families.msts.training.losses import LossConfig
from stmask_ros.families.msts.training.optimiser import parameter_groups
from stmask_ros.families.msts.training.step import TrainingStep


class MSTSTraining:
    """Learns from clips."""

    loss_options = LossConfig

    def clip_length(self, options: LossConfig) -> int:
        """Return T."""
        return options.frames

    def check(
        self, configuration: MSTSConfig, precision: Precision, device: torch.device
    ) -> None:
        """Raise TrainingError for half precision on a CPU."""
        if precision != 'float32' and device.type == 'cpu':
            raise TrainingError(
                f'precision {precision} of {configuration.backbone} needs CUDA: use float32 on '
                'the CPU'
            )

    def initialise(self, network: MSTS, seed: int) -> None:
        """See initialisation.initialise."""
        initialise(network, seed)

    def initial_tensors(
        self, network: MSTS, tensors: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        """Return the tensors of a file of SeqFormer, MS-STS or this package."""
        return own_tensors(tensors)

    def example(
        self, configuration: MSTSConfig, clip: Sequence[AnnotatedFrame],
        augmentation: Augmentation, rng: np.random.Generator,
    ) -> Example:
        """Return a clip."""
        return example(clip, configuration, augmentation, rng)

    def step(self, network: MSTS, options: LossConfig, precision: Precision) -> TrainingStep:
        """Return the network with its losses."""
        return TrainingStep(network, options, precision)

    def backbone(self, network: MSTS) -> nn.Module:
        """Return the backbone."""
        return network.backbone

    def stages(self, network: MSTS) -> Sequence[nn.Module]:
        """Return the backbone's stages."""
        return list(network.backbone.layers)

    def parameter_groups(self, network: MSTS) -> Sequence[ParameterGroup]:
        """Return what decides where to look, which learns slowly, and the rest."""
        return parameter_groups(network)
