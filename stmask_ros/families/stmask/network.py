# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""STMask: one frame in, dense predictions and prototypes out, and a net that joins two frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.families.stmask.distance_head import DistanceHead
from stmask_ros.families.stmask.fpn import FeaturePyramid
from stmask_ros.families.stmask.heads import HeadOutput, InstanceOutput, PredictionHead
from stmask_ros.families.stmask.prototypes import JoinedPrototypeNet, PrototypeNet
from stmask_ros.families.stmask.temporal_fusion import (
    TemporalFeatures,
    TemporalNet,
    fuse,
    pool_regions,
)
from stmask_ros.layers.backbone import DarkNet53, EfficientNetLite0, ResNet
from stmask_ros.layers.boxes import priors
from stmask_ros.layers.csp import CspBackbone, PathAggregation


class Predictions(NamedTuple):
    """
    The network's view of a batch of single frames; intermediate maps are kept for who looks.

    stages: of the backbone: C2 to C5 (ResNet), D1 to D5 (DarkNet), strides 4 to 32 (lite, csp).
    pyramid: P3 to P7 (csp: P5). Both are empty where an engine runs the network.
    head: dense predictions, see HeadOutput.
    priors: [A, 4], see boxes.priors. boxes: [B, A, 4], decoded, fractions of the padded input,
    may reach outside.
    prototypes: [B, H / 4, W / 4, prototypes], none negative.
    temporal: what the next frame's temporal fusion needs of this one.
    """

    stages: tuple[Tensor, ...]
    pyramid: list[Tensor]
    head: HeadOutput
    priors: Tensor
    boxes: Tensor
    prototypes: Tensor
    temporal: TemporalFeatures


class STMask(nn.Module):
    """The network of a configuration. Parameters are named as in the released checkpoints."""

    def __init__(self, config: STMaskConfig) -> None:
        """Create the network with random weights."""
        super().__init__()
        self.config = config
        self.backbone = build_backbone(config)
        self.proto_net: PrototypeNet | JoinedPrototypeNet
        self.fpn: FeaturePyramid | PathAggregation
        if isinstance(self.backbone, CspBackbone):
            self.proto_net = JoinedPrototypeNet(
                self.backbone.fine_channels, config.channels, config.num_prototypes
            )
            self.fpn = PathAggregation(self.backbone.out_channels, config.channels)
        else:
            self.proto_net = PrototypeNet(config.channels, config.num_prototypes)
            self.fpn = FeaturePyramid(self.backbone.out_channels, config.channels)
        # A list of one, which all levels share: the released weights name it so.
        self.prediction_layers = nn.ModuleList([
            DistanceHead(config) if config.detection == 'distances' else PredictionHead(config)
        ])
        self.TemporalNet: TemporalNet | None = None
        if config.temporal_fusion:
            self.TemporalNet = TemporalNet(
                config.correlation_patch**2 + 2 * config.channels,
                config.temporal_channels,
                config.num_coefficients,
            )

    @property
    def head(self) -> PredictionHead | DistanceHead:
        """The prediction head."""
        head = self.prediction_layers[0]
        assert isinstance(head, PredictionHead | DistanceHead)
        return head

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights and the feature maps."""
        return next(self.prediction_layers.parameters()).dtype

    def forward(self, images: Tensor) -> Predictions:
        """images: float [B, 3, H, W], normalised RGB, H and W multiples of 32."""
        stages = self.backbone(images.to(self.dtype))
        pyramid = self.fpn(stages[-3:])
        head: HeadOutput = self.head(pyramid)
        prototypes = self._prototypes(stages, pyramid).float()
        level = pyramid[self.config.correlation_level]
        return self.predictions(stages, pyramid, head, prototypes, level)

    def predictions(
        self, stages: tuple[Tensor, ...], pyramid: list[Tensor], head: HeadOutput,
        prototypes: Tensor, level: Tensor,
    ) -> Predictions:
        """Return all of a frame. level: of the pyramid, that temporal fusion looks at."""
        config = self.config
        anchors = priors(head.level_sizes, config.anchor_shapes, prototypes.device)
        maps = {'pyramid': level, 'upfeature': head.upfeatures[config.correlation_level]}
        return Predictions(
            stages,
            pyramid,
            head,
            anchors,
            self.head.boxes(head, anchors),
            prototypes,
            TemporalFeatures(maps[config.correlated], maps[config.concatenated]),
        )

    def _prototypes(self, stages: Sequence[Tensor], pyramid: Sequence[Tensor]) -> Tensor:
        maps = [pyramid[0]]
        if isinstance(self.proto_net, JoinedPrototypeNet):
            maps.insert(0, stages[0])
        prototypes: Tensor = self.proto_net(*maps)
        return prototypes

    def instances(self, predictions: Predictions) -> InstanceOutput:
        """Return mask coefficients and embeddings of all anchors, [B, A, ...]."""
        return self.head.instances(predictions.head)

    def instances_at(
        self, predictions: Predictions, frame: int | slice, anchors: Tensor
    ) -> InstanceOutput:
        """
        Return them of anchors, int64 [N] of one frame of the batch, or [B, N] of all its frames.

        The values are those of instances(); of one frame, at the cost of the few that survive
        suppression.
        """
        return self.head.instances_at(predictions.head, frame, anchors)

    def propagate(
        self, previous: TemporalFeatures, current: TemporalFeatures, boxes: Tensor, frames: Tensor
    ) -> tuple[Tensor, Tensor]:
        """
        Predict how N objects change from the previous frames to the current ones.

        boxes: [N, 4] in the previous frame; frames: int64 [N], the row of the batch.
        Returns box deltas [N, 4] and coefficient deltas [N, prototypes] (equations 10 to 13).
        Raises RuntimeError if the configuration has no temporal fusion.
        """
        if self.TemporalNet is None:
            raise RuntimeError('this configuration has no temporal fusion')
        joint = fuse(previous, current, self.config.correlation_patch)
        regions = pool_regions(joint, boxes, frames, self.config.temporal_roi)
        box_deltas, coefficient_deltas = self.TemporalNet(regions)
        return box_deltas.float(), coefficient_deltas.float()


def build_backbone(
    config: STMaskConfig,
) -> ResNet | DarkNet53 | EfficientNetLite0 | CspBackbone:
    """Return the backbone of this configuration."""
    if config.backbone == 'darknet53':
        return DarkNet53()
    if config.backbone == 'efficientnet_lite0':
        return EfficientNetLite0()
    if config.backbone == 'csp':
        return CspBackbone()
    blocks = (3, 4, 6, 3) if config.backbone == 'resnet50' else (3, 4, 23, 3)
    return ResNet(blocks, config.deformable_interval)


def initialise(network: STMask, seed: int = 0) -> None:
    """
    Give the network fresh weights from a seed: He, and small ones in the layers that predict.

    The centerness starts at about 0.76, so that even an untrained network detects something.
    """
    head = network.head
    predicting = head.predicting()
    if network.TemporalNet is not None:
        predicting += [network.TemporalNet.fc, network.TemporalNet.fc_coeff]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in _layers(network):
            nn.init.kaiming_normal_(module.weight, nonlinearity='relu')
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        for module in (layer for part in predicting for layer in _layers(part)):
            nn.init.normal_(module.weight, std=0.02)
    for layer in _layers(head.centerness_layer or nn.ModuleList()):
        assert layer.bias is not None
        nn.init.ones_(layer.bias)


def _layers(module: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    return [m for m in module.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
