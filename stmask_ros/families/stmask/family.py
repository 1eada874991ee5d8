# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""STMask (CVPR 2021) as a family, see stmask_ros/families/family.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from stmask_ros.families.family import (
    Compile,
    OfficialCheckpoint,
    Precision,
    Recognised,
    TrackerSettings,
)
from stmask_ros.families.stmask import network as networks
from stmask_ros.families.stmask import recognition, two_frames
from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.families.stmask.engine import with_engine
from stmask_ros.families.stmask.inference import prepared_for_inference
from stmask_ros.families.stmask.network import STMask
from stmask_ros.families.stmask.official import OFFICIAL, PAGE
from stmask_ros.families.stmask.stepper import STMaskStepper
from stmask_ros.families.stmask.tracks import TrackerConfig

if TYPE_CHECKING:
    from stmask_ros.families.stmask.teaching.family import STMaskTeaching
    from stmask_ros.families.stmask.training.family import STMaskTraining


@dataclass(frozen=True)
class STMaskFamily:
    """STMask, of any configuration."""

    name: str = 'stmask'
    page: str = PAGE
    official: Sequence[OfficialCheckpoint] = OFFICIAL

    @cached_property
    def training(self) -> STMaskTraining:
        """How it learns; imported when it is asked for, as a node does not."""
        from stmask_ros.families.stmask.training.family import STMaskTraining

        return STMaskTraining()

    @cached_property
    def teaching(self) -> STMaskTeaching:
        """How it learns further classes; imported when it is asked for, as a node does not."""
        from stmask_ros.families.stmask.teaching.family import STMaskTeaching

        return STMaskTeaching()

    def configuration_names(self) -> Sequence[str]:
        """See STMaskConfig.names."""
        return STMaskConfig.names()

    def configuration(
        self, name: str, num_classes: int, options: Mapping[str, Any]
    ) -> STMaskConfig:
        """See STMaskConfig.named."""
        return STMaskConfig.named(name, **{'num_classes': num_classes} | dict(options))

    def build(self, configuration: STMaskConfig) -> STMask:
        """Return the network of a configuration."""
        return STMask(configuration)

    def initialise(self, network: STMask, seed: int) -> None:
        """Give the network fresh weights from a seed."""
        networks.initialise(network, seed)

    def outputs(self, network: STMask) -> Mapping[str, Tensor]:
        """Return all that the network says of two frames."""
        return two_frames.outputs(network)

    def renamed(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors of a checkpoint without the left-overs of another model."""
        return recognition.renamed(tensors)

    def recognise(
        self, tensors: Mapping[str, Tensor], configuration: str | None = None
    ) -> Recognised:
        """Return the configuration that tensors belong to."""
        return recognition.recognise(tensors, configuration)

    def tracker(self, settings: TrackerSettings, options: Mapping[str, Any]) -> TrackerConfig:
        """Return the options of the tracker."""
        return settings.over(TrackerConfig(), **options)

    def stepper(
        self, network: STMask, device: torch.device, precision: Precision, in_batches: bool,
        compiled: Compile | None = None,
    ) -> STMaskStepper:
        """Return a prepared copy of the network, ready to step."""
        running = prepared_for_inference(network, device, getattr(torch, precision))
        if compiled is not None:
            running = with_engine(running, network, compiled, precision)
        return STMaskStepper(running, device, in_batches)


STMASK = STMaskFamily()
