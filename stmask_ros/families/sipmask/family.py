# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""SipMask-VIS as a family, see stmask_ros/families/family.py; SG-Net is another value of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from stmask_ros.families.sipmask import initialisation, recognition, two_frames
from stmask_ros.families.sipmask.config import SipMaskConfig
from stmask_ros.families.sipmask.engine import with_engine
from stmask_ros.families.sipmask.inference import prepared_for_inference
from stmask_ros.families.sipmask.network import SipMask
from stmask_ros.families.sipmask.official import OFFICIAL, PAGE
from stmask_ros.families.sipmask.recognition import Layout
from stmask_ros.families.sipmask.stepper import SipMaskStepper
from stmask_ros.families.sipmask.tracks import SipMaskTracker

if TYPE_CHECKING:
    from stmask_ros.families.sipmask.training.family import SipMaskTraining


@dataclass(frozen=True)
class SipMaskFamily:
    """
    A network that is built and stepped as SipMask.

    layout: how its tensors are named, and its configurations. make_training: see `training`.
    """

    name: str
    page: str
    official: Sequence[OfficialCheckpoint]
    layout: Layout
    make_training: Callable[[], SipMaskTraining]

    @cached_property
    def training(self) -> SipMaskTraining:
        """How it learns; imported when it is asked for, as a node does not."""
        return self.make_training()

    def configuration_names(self) -> Sequence[str]:
        """Return a name of each distinct configuration."""
        return self.layout.configurations.names()

    def configuration(
        self, name: str, num_classes: int, options: Mapping[str, Any]
    ) -> SipMaskConfig:
        """See SipMaskConfig.named."""
        return self.layout.configurations.named(
            name, **{'num_classes': num_classes} | dict(options)
        )

    def build(self, configuration: SipMaskConfig) -> Any:
        """Return the network of a configuration."""
        return self.layout.build(configuration)

    def initialise(self, network: Any, seed: int) -> None:
        """Give the network fresh weights from a seed."""
        initialisation.initialise(network, network.bbox_head, seed)

    def outputs(self, network: Any) -> Mapping[str, Tensor]:
        """Return all that the network says of two frames."""
        return two_frames.outputs(network)

    def renamed(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors of a checkpoint under the names of today."""
        return recognition.renamed(tensors, self.layout)

    def recognise(
        self, tensors: Mapping[str, Tensor], configuration: str | None = None
    ) -> Recognised:
        """Return the configuration that tensors belong to."""
        return recognition.recognise(tensors, self.layout, configuration)

    def tracker(self, settings: TrackerSettings, options: Mapping[str, Any]) -> SipMaskTracker:
        """Return the options of the tracker."""
        return settings.over(SipMaskTracker(), **options)

    def stepper(
        self, network: Any, device: torch.device, precision: Precision, in_batches: bool,
        compiled: Compile | None = None,
    ) -> SipMaskStepper:
        """Return a prepared copy of the network, ready to step."""
        running = prepared_for_inference(network, device, getattr(torch, precision))
        if compiled is not None:
            running = with_engine(running, network, compiled, precision)
        return SipMaskStepper(running, device, in_batches)


def _training() -> SipMaskTraining:
    from stmask_ros.families.sipmask.training.family import SipMaskTraining

    return SipMaskTraining()


SIPMASK = SipMaskFamily(
    'sipmask', PAGE, OFFICIAL,
    Layout('SipMask', 'sip_mask_lat0', 'sipmask_track', {'fovea_track': 'sipmask_track'},
           SipMaskConfig, SipMask),
    _training,
)
