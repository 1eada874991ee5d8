# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""SipMask and SG-Net, small enough to step in milliseconds."""

from __future__ import annotations

from typing import Any

import torch

from stmask_ros.families.all import family_named
from stmask_ros.families.family import TrackerSettings
from stmask_ros.models.checkpoint import Model, ModelDescription
from stmask_ros.tracking.segmenter import VideoSegmenter

CONFIGURATIONS = (
    ('sipmask', 'sipmask_tiny', {}),
    ('sgnet', 'sgnet_tiny', {}),
    ('sgnet', 'sgnet_tiny', {'motion': False, 'granularity': 'reference'}),
    ('sgnet', 'sgnet_tiny', {'motion_reads': 'centerness', 'spatial_attention': True,
                             'granularity': 'image'}),
)


def mask_model(family: str, name: str, options: dict[str, Any], seed: int = 0) -> Model:
    """Return a model with fresh weights."""
    description = ModelDescription(
        name, name, ('one', 'two', 'three'), options=options, family=family
    )
    network = family_named(family).build(description.config())
    family_named(family).initialise(network, seed)
    return Model(description, network.eval().requires_grad_(False), 'fresh')


def mask_segmenter(
    family: str, name: str, options: dict[str, Any], in_batches: bool | None = None,
    **tracker: Any,
) -> VideoSegmenter:
    """Return a segmenter of a model with fresh weights."""
    model = mask_model(family, name, options)
    rules = model.family.tracker(TrackerSettings(), tracker)
    return VideoSegmenter(model, torch.device('cpu'), rules, in_batches)
