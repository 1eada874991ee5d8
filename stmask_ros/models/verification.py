# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Whether weights compute numbers at all: two frames through the network."""

from __future__ import annotations

import torch
from torch import nn

from stmask_ros.families.family import AnyFamily
from stmask_ros.models.checkpoint import check_finite


def verify(family: AnyFamily, network: nn.Module) -> None:
    """
    Run two frames through a network in evaluation mode, with all that joins them.

    Raises ModelError that names the outputs that are not finite.
    """
    with torch.inference_mode():
        check_finite('outputs', family.outputs(network))
