# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""MS-STS VIS (ECCV 2022) and SeqFormer as a family, see stmask_ros/families/family.py."""

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
from stmask_ros.families.msts import layout, recognition
from stmask_ros.families.msts.config import MSTSConfig
from stmask_ros.families.msts.engine import with_engine
from stmask_ros.families.msts.inference import prepared_for_inference
from stmask_ros.families.msts.initialisation import initialise_for_use
from stmask_ros.families.msts.network import MSTS, clip_outputs
from stmask_ros.families.msts.official import OFFICIAL, PAGE
from stmask_ros.families.msts.stepper import MSTSStepper
from stmask_ros.families.msts.tracks import TrackerConfig
from stmask_ros.layers.waves import moving_waves

if TYPE_CHECKING:
    from stmask_ros.families.msts.training.family import MSTSTraining


@dataclass(frozen=True)
class MSTSFamily:
    """MS-STS VIS, with or without the modules that make it more than SeqFormer."""

    name: str = 'msts'
    page: str = PAGE
    official: Sequence[OfficialCheckpoint] = OFFICIAL

    @cached_property
    def training(self) -> MSTSTraining:
        """How it learns; imported when it is asked for, as a node does not."""
        from stmask_ros.families.msts.training.family import MSTSTraining

        return MSTSTraining()

    def configuration_names(self) -> Sequence[str]:
        """See MSTSConfig.names."""
        return MSTSConfig.names()

    def configuration(
        self, name: str, num_classes: int, options: Mapping[str, Any]
    ) -> MSTSConfig:
        """See MSTSConfig.named."""
        return MSTSConfig.named(name, **{'num_classes': num_classes} | dict(options))

    def build(self, configuration: MSTSConfig) -> MSTS:
        """Return the network of a configuration."""
        return MSTS(configuration)

    def initialise(self, network: MSTS, seed: int) -> None:
        """Give the network fresh weights from a seed."""
        initialise_for_use(network, seed)

    def outputs(self, network: MSTS) -> Mapping[str, Tensor]:
        """Return all that the network says of two frames."""
        side = network.config.short_side
        return clip_outputs(network, moving_waves((side, side)))

    def renamed(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors of SeqFormer's and MS-STS's files under our names."""
        return layout.own_tensors(tensors)

    def recognise(
        self, tensors: Mapping[str, Tensor], configuration: str | None = None
    ) -> Recognised:
        """Return the configuration that tensors belong to."""
        return recognition.recognise(tensors, configuration)

    def tracker(self, settings: TrackerSettings, options: Mapping[str, Any]) -> TrackerConfig:
        """Return the options of the tracker."""
        return settings.over(TrackerConfig(), **options)

    def stepper(
        self, network: MSTS, device: torch.device, precision: Precision, in_batches: bool,
        compiled: Compile | None = None,
    ) -> MSTSStepper:
        """Return a prepared copy of the network, ready to step."""
        running = prepared_for_inference(network, device, getattr(torch, precision))
        if compiled is not None:
            running = with_engine(running, network, compiled, precision)
        return MSTSStepper(running, device)


MSTS_FAMILY = MSTSFamily()
