# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Networks of every kind, small enough to step in milliseconds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.families.stmask.network import STMask, initialise
from stmask_ros.families.stmask.preprocess import Image
from stmask_ros.families.stmask.tracks import TrackerConfig
from stmask_ros.models.checkpoint import Model, ModelDescription
from stmask_ros.tracking.segmenter import VideoSegmenter


def small(config: STMaskConfig) -> STMaskConfig:
    """Return the configuration with a small backbone, few channels and a small input."""
    backbone = 'csp' if config.backbone == 'csp' else 'efficientnet_lite0'
    return replace(
        config, backbone=backbone, deformable_interval=0, num_classes=3, channels=16,
        num_prototypes=8, embedding_size=8, temporal_channels=(16, 16, 16), input_height=90,
        input_width=128,
    )


def small_model(config: STMaskConfig | None = None, seed: int = 0) -> Model:
    """Return a small model with fresh weights."""
    config = small(config or STMaskConfig.named('stmask_lite'))
    network = STMask(config)
    initialise(network, seed)
    classes = tuple(f'class_{i + 1}' for i in range(config.num_classes))
    description = ModelDescription('small', 'stmask_lite', classes)
    return Model(description, network.eval().requires_grad_(False), 'fresh')


def small_segmenter(config: STMaskConfig | None = None, **tracker: Any) -> VideoSegmenter:
    """Return a segmenter of a small model."""
    return VideoSegmenter(small_model(config), torch.device('cpu'), TrackerConfig(**tracker))


def noise(seed: int, height: int = 90, width: int = 128) -> Image:
    """Return an image of coarse noise."""
    cells = np.random.default_rng(seed).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3))
    return cells.repeat(8, 0).repeat(8, 1)[:height, :width].astype(np.uint8)
