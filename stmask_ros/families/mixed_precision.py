# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""In which precision a network computes while it learns; the losses are float32."""

from __future__ import annotations

import torch

from stmask_ros.families.family import Precision


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Return a context in which a network computes in this precision."""
    mixed = precision != 'float32'
    return torch.autocast(
        device.type, getattr(torch, precision) if mixed else torch.bfloat16, enabled=mixed
    )
