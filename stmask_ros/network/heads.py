"""The prediction head, shared by all levels of the pyramid (specification, section 6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmask_ros.network.calibration import CalibratedConv
from stmask_ros.network.config import Calibration, STMaskConfig


class HeadOutput(NamedTuple):
    """
    Dense predictions for all A anchors, in the order (level, y, x, kernel).

    box_deltas: [B, A, 4]. class_logits: [B, A, 1 + classes], 0 is the background.
    centerness: [B, A] in (-1, 1), in the configured order (see STMaskConfig.centerness_order).
    mask_coefficients: [B, A, prototypes], before their tanh.
    embeddings: [B, A, embedding size], of length 1.
    upfeatures: [B, channels, H, W] of each level.
    level_sizes: (height, width) of each level [cells].
    """

    box_deltas: Tensor
    class_logits: Tensor
    centerness: Tensor
    mask_coefficients: Tensor
    embeddings: Tensor
    upfeatures: list[Tensor]
    level_sizes: tuple[tuple[int, int], ...]


class PredictionHead(nn.Module):
    """A shared convolution, one tower a branch, and one kernel an anchor on each (FCA)."""

    def __init__(self, config: STMaskConfig) -> None:
        """Create the layers under the names of the released weights."""
        super().__init__()
        self.legacy_centerness = config.centerness_order == 'legacy'
        channels = config.channels
        self.upfeature = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU())

        def branch(out: int, calibration: Calibration = 'none') -> nn.ModuleList:
            return nn.ModuleList(
                _last_layer(channels, out, kernel, calibration) for kernel in config.kernels
            )

        self.bbox_layer = branch(4)
        self.track_layer = branch(config.embedding_size, config.track_calibration)
        self.mask_layer = branch(config.num_prototypes, config.mask_calibration)
        self.centerness_layer = branch(1)
        self.conf_layer = branch(1 + config.num_classes, config.class_calibration)
        self.track_extra = _tower(channels)
        self.conf_extra = _tower(channels)
        self.bbox_extra = _tower(channels)
        self.mask_extra = _tower(channels)

    def forward(self, pyramid: Sequence[Tensor]) -> HeadOutput:
        """P3 to P7, [B, channels, H, W] each -> dense predictions of all anchors."""
        levels = [self._level(feature) for feature in pyramid]
        boxes, centerness, logits, coefficients, embeddings, upfeatures = zip(
            *levels, strict=True
        )
        return HeadOutput(
            torch.cat(boxes, 1),
            torch.cat(logits, 1),
            torch.cat(centerness, 1).tanh(),
            torch.cat(coefficients, 1),
            F.normalize(torch.cat(embeddings, 1), dim=-1),
            list(upfeatures),
            tuple((int(p.shape[-2]), int(p.shape[-1])) for p in pyramid),
        )

    def _level(self, feature: Tensor) -> tuple[Tensor, ...]:
        x = self.upfeature(feature)
        box_tower = self.bbox_extra(x)
        deltas = [layer(box_tower) for layer in self.bbox_layer]
        centerness = [layer(box_tower) for layer in self.centerness_layer]
        return (
            _by_anchor(deltas),
            # The released code strings the kernels' maps together instead of interleaving them.
            torch.cat([c.flatten(1) for c in centerness], 1)
            if self.legacy_centerness
            else _by_anchor(centerness).squeeze(-1),
            *(
                _by_anchor(_apply(layers, tower(x), deltas))
                for layers, tower in (
                    (self.conf_layer, self.conf_extra),
                    (self.mask_layer, self.mask_extra),
                    (self.track_layer, self.track_extra),
                )
            ),
            x,
        )


def _apply(layers: nn.ModuleList, tower: Tensor, deltas: Sequence[Tensor]) -> list[Tensor]:
    return [
        layer(tower, delta) if isinstance(layer, CalibratedConv) else layer(tower)
        for layer, delta in zip(layers, deltas, strict=True)
    ]


def _by_anchor(maps: Sequence[Tensor]) -> Tensor:
    # kernels x [B, C, H, W] -> [B, H * W * kernels, C], the kernel running fastest
    return torch.stack(list(maps), 1).permute(0, 3, 4, 1, 2).flatten(1, 3)


def _tower(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(inplace=True),
    )


def _last_layer(
    channels: int, out: int, kernel: tuple[int, int], calibration: Calibration
) -> nn.Module:
    if calibration == 'none':
        return nn.Conv2d(channels, out, kernel, padding=(kernel[0] // 2, kernel[1] // 2))
    return CalibratedConv(channels, out, kernel, adaptive=calibration == 'ada')
