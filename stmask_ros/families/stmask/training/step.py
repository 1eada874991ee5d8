"""One pass of training: from images to losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from stmask_ros.families.errors import TrainingError
from stmask_ros.families.stmask.distance_head import DistanceHead
from stmask_ros.families.stmask.network import STMask
from stmask_ros.families.stmask.temporal_fusion import TemporalFeatures
from stmask_ros.families.stmask.training.box_losses import instance_losses
from stmask_ros.families.stmask.training.loss_inputs import DensePredictions, LossConfig, Propagate
from stmask_ros.families.stmask.training.losses import Losses, multibox_loss
from stmask_ros.families.stmask.training.targets import FrameTargets
from stmask_ros.layers.backbone import DarkNet53, EfficientNetLite0, ResNet
from stmask_ros.layers.csp import CspBackbone

Precision = Literal['float32', 'bfloat16', 'float16']


def freeze_stages(
    backbone: ResNet | DarkNet53 | EfficientNetLite0 | CspBackbone, count: int
) -> None:
    """
    Keep the weights of a backbone's stem and of its first stages as they are; of 0, none.

    Raises TrainingError for more stages than there are.
    """
    stages = list(backbone.layers)
    if not 0 <= count <= len(stages):
        raise TrainingError(f'frozen_stages: expected 0 to {len(stages)}, got {count}')
    if count == 0:
        return
    trained = {parameter for stage in stages[count:] for parameter in stage.parameters()}
    for parameter in backbone.parameters():
        parameter.requires_grad_(parameter in trained)


def freeze_detector(network: STMask) -> None:
    """Keep what the boxes of a kept detection head are made of; of another head, nothing."""
    if isinstance(network.head, DistanceHead):
        for part in (network.backbone, network.fpn, network.head.levels):
            part.requires_grad_(False)


class TrainingStep(nn.Module):
    """
    The network with its losses, as one module: what DDP wraps.

    Every parameter takes part in every pass, so that no worker waits for another's gradient.
    """

    def __init__(
        self, network: STMask, loss: LossConfig, freeze_batch_norm: bool,
        precision: Precision = 'float32',
    ) -> None:
        """freeze_batch_norm: keep statistics, factors and offsets as they are."""
        super().__init__()
        self.network = network
        self.loss = loss
        self.precision = precision
        freeze_detector(network)
        if freeze_batch_norm:
            for norm in self._batch_norms():
                norm.requires_grad_(False)

    def train(self, mode: bool = True) -> TrainingStep:
        """Switch to training, but for frozen batch norms."""
        super().train(mode)
        for norm in self._batch_norms():
            if not norm.weight.requires_grad:
                norm.eval()
        return self

    def forward(self, images: Tensor, targets: Sequence[FrameTargets]) -> Losses:
        """images: float [B, 3, H, W] as the network takes them, pair by pair."""
        with self._autocast(images.device):
            predictions = self.network(images)
            if isinstance(self.network.head, DistanceHead):
                return instance_losses(
                    self.network.head, predictions, targets,
                    self._propagation(predictions.temporal), self.loss,
                )
            instances = self.network.instances(predictions)
        centerness = predictions.head.centerness
        return multibox_loss(DensePredictions(
            predictions.head.box_deltas.float(),
            predictions.head.class_logits.float(),
            None if self.network.config.centerness_order == 'none' else centerness.float(),
            instances.mask_coefficients.float(),
            instances.embeddings.float(),
            predictions.prototypes.float(),
            predictions.priors,
            self._propagation(predictions.temporal),
        ), targets, self.loss)

    def _propagation(self, features: TemporalFeatures) -> Propagate | None:
        if self.network.TemporalNet is None:
            return None
        first, second = (
            TemporalFeatures(features.correlated[start::2], features.concatenated[start::2])
            for start in (0, 1)
        )

        def propagate(boxes: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
            with self._autocast(boxes.device):
                deltas = self.network.propagate(first, second, boxes, pairs)
            return deltas[0].float(), deltas[1].float()

        return propagate

    def _autocast(self, device: torch.device) -> torch.autocast:
        return torch.autocast(
            device.type, getattr(torch, self.precision) if self._is_mixed else torch.bfloat16,
            enabled=self._is_mixed,
        )

    @property
    def _is_mixed(self) -> bool:
        return self.precision != 'float32'

    def _batch_norms(self) -> list[nn.BatchNorm2d]:
        return [m for m in self.network.modules() if isinstance(m, nn.BatchNorm2d)]
